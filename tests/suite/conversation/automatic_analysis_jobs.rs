//! Analysis jobs that are created automatically: one for every 25 messages of a person, and for nothing else.

use futures_util::future::join_all;
use haven_proto::data::v1::SenderType::{Coach, System, User};
use haven_testkit::{Client, Person, Stack};

use super::{message, say, try_append};
use crate::{superuser_sql::scalar, superuser_sql::scalar_with};

/// Returns the ranges of the person's jobs.
async fn jobs(stack: &Stack, person: &Person) -> String {
    let sql = "SELECT coalesce(string_agg(first_number || '-' || last_number, ' ' ORDER BY last_number), '')
        FROM data.analysis_jobs WHERE user_id = $1";
    scalar_with(&stack.database, sql, person.id).await
}

/// Returns the ranges of every 25 consecutive messages of the person, computed from the messages.
async fn batches(stack: &Stack, person: &Person) -> String {
    let sql = "SELECT coalesce(string_agg(range, ' ' ORDER BY last), '') FROM (
            SELECT min(number) || '-' || max(number) AS range, max(number) AS last, count(*) AS messages
            FROM (
                SELECT user_id, number, (row_number() OVER (PARTITION BY user_id ORDER BY number) - 1) / 25 AS batch
                FROM data.conversations WHERE user_id = $1 AND sender_type = 'user'
            ) AS numbered
            GROUP BY user_id, batch
        ) AS batches WHERE messages = 25";
    scalar_with(&stack.database, sql, person.id).await
}

/// Signs a person up. Returns them, and a client of the service that acts for them.
async fn through_backend(stack: &Stack) -> (Person, Client) {
    let person = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap();
    let client = backend.with_token(&person.token).unwrap();
    (person, client)
}

#[tokio::test]
async fn each_25th_message_of_one_writer_creates_a_job() {
    let stack = Stack::shared().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    for (number, expected) in (1..=76).map(|number| {
        let ranges = ["1-25", "26-50", "51-75"];
        (number, ranges[..number / 25].join(" "))
    }) {
        say(&ada, "one after the other").await;
        assert_eq!(jobs(stack, &person).await, expected, "after {number}");
    }
    let as_created = "SELECT count(*) FROM data.analysis_jobs AS j
        JOIN data.conversations AS c ON c.user_id = j.user_id AND c.number = j.last_number
        WHERE j.user_id = $1 AND j.created_at = c.created_at AND j.state = 'queued' AND NOT j.requested AND j.priority = 0
            AND j.attempts = 0 AND j.start_after <= now() AND j.start_after > now() - interval '10 minutes'";
    assert_eq!(
        scalar_with::<i64, _>(&stack.database, as_created, person.id).await,
        3
    );
}

#[tokio::test]
async fn concurrent_writers_create_the_same_jobs() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    for expected in ["1-25", "1-25 26-50", "1-25 26-50 51-75"] {
        join_all((0..25).map(|_| say(&ada, "all at once"))).await;
        assert_eq!(jobs(&stack, &person).await, expected);
    }
    let other = stack.person().await.unwrap();
    let bob = stack.user(&other).unwrap();
    join_all((0..75).map(|_| say(&bob, "all of them at once"))).await;
    assert_eq!(jobs(&stack, &other).await, "1-25 26-50 51-75");
}

#[tokio::test]
async fn messages_of_the_coach_and_the_system_do_not_count() {
    let stack = Stack::shared().await.unwrap();
    let (person, ada) = through_backend(stack).await;
    // The coach sends the first message and an answer to each question; then the system sends a notice.
    try_append(&ada, message(Coach, "Welcome")).await.unwrap();
    for _ in 0..24 {
        say(&ada, "a question").await;
        try_append(&ada, message(Coach, "an answer")).await.unwrap();
    }
    try_append(&ada, message(System, "a notice")).await.unwrap();
    assert_eq!(jobs(stack, &person).await, "");
    say(&ada, "the 25th").await;
    assert_eq!(jobs(stack, &person).await, "2-51");
    try_append(&ada, message(Coach, "an answer")).await.unwrap();
    assert_eq!(jobs(stack, &person).await, "2-51");
    for _ in 0..25 {
        say(&ada, "more").await;
    }
    assert_eq!(jobs(stack, &person).await, "2-51 53-77");
}

#[tokio::test]
async fn jobs_cover_each_message_once_with_concurrent_writers_and_a_coach() {
    let stack = Stack::start().await.unwrap();
    let (person, ada) = through_backend(&stack).await;
    let crowd = (0..105).map(|i| {
        let sender = match i % 7 {
            0 => Coach,
            1 => System,
            _ => User,
        };
        try_append(&ada, message(sender, "all at once"))
    });
    for appended in join_all(crowd).await {
        appended.unwrap();
    }
    let created = jobs(&stack, &person).await;
    assert_eq!(created.split(' ').count(), 3, "{created}");
    assert_eq!(created, batches(&stack, &person).await);
    let pending = "SELECT pending_messages::bigint FROM data.conversation_counters";
    assert_eq!(scalar::<i64>(&stack.database, pending).await, 0);
    say(&ada, "the next").await;
    assert_eq!(scalar::<i64>(&stack.database, pending).await, 1);
}

#[tokio::test]
async fn a_repeated_25th_message_creates_one_job() {
    let stack = Stack::shared().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    for _ in 0..24 {
        say(&ada, "not yet").await;
    }
    let last = message(User, "the 25th");
    let answers = join_all((0..25).map(|_| try_append(&ada, last.clone()))).await;
    for answer in answers {
        assert_eq!(answer.unwrap().number, 25);
    }
    assert_eq!(jobs(stack, &person).await, "1-25");
}
