//! Every 25 messages of a person make a job that covers them, and nothing else does.

use futures_util::future::join_all;
use haven_proto::data::v1::SenderType::{Coach, System, User};
use haven_testkit::{Client, Stack};

use super::{message, say, try_append};
use crate::superuser_sql::scalar;

/// The ranges of the jobs that there are.
async fn jobs(stack: &Stack) -> String {
    let sql = "SELECT coalesce(string_agg(first_number || '-' || last_number, ' ' ORDER BY last_number), '')
        FROM data.analysis_jobs";
    scalar(&stack.database, sql).await
}

/// From the first to the last of each 25 messages of a person, counted out.
async fn batches(stack: &Stack) -> String {
    let sql = "SELECT coalesce(string_agg(range, ' ' ORDER BY last), '') FROM (
            SELECT min(number) || '-' || max(number) AS range, max(number) AS last, count(*) AS messages
            FROM (
                SELECT user_id, number, (row_number() OVER (PARTITION BY user_id ORDER BY number) - 1) / 25 AS batch
                FROM data.conversations WHERE sender_type = 'user'
            ) AS numbered
            GROUP BY user_id, batch
        ) AS batches WHERE messages = 25";
    scalar(&stack.database, sql).await
}

async fn through_backend(stack: &Stack) -> Client {
    let ada = stack.person().await.unwrap();
    let backend = stack.service("backend").unwrap();
    backend.with_token(&ada.token).unwrap()
}

#[tokio::test]
async fn one_writer_makes_a_job_with_each_25th_message() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    for (number, expected) in (1..=76).map(|number| {
        let made = ["1-25", "26-50", "51-75"];
        (number, made[..number / 25].join(" "))
    }) {
        say(&ada, "one after the other").await;
        assert_eq!(jobs(&stack).await, expected, "after {number}");
    }
    let as_made = "SELECT count(*) FROM data.analysis_jobs AS j
        JOIN data.conversations AS c ON c.user_id = j.user_id AND c.number = j.last_number
        WHERE j.created_at = c.created_at AND j.state = 'queued' AND NOT j.requested AND j.priority = 0
            AND j.attempts = 0 AND j.start_after <= now() AND j.start_after > now() - interval '10 minutes'";
    assert_eq!(scalar::<i64>(&stack.database, as_made).await, 3);
}

#[tokio::test]
async fn many_writers_at_once_make_the_same_jobs() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    for expected in ["1-25", "1-25 26-50", "1-25 26-50 51-75"] {
        join_all((0..25).map(|_| say(&ada, "all at once"))).await;
        assert_eq!(jobs(&stack).await, expected);
    }
    let bob = stack.user(&stack.person().await.unwrap()).unwrap();
    join_all((0..75).map(|_| say(&bob, "all of them at once"))).await;
    let his = "SELECT string_agg(first_number || '-' || last_number, ' ' ORDER BY last_number)
        FROM data.analysis_jobs WHERE user_id <> (SELECT user_id FROM data.conversations ORDER BY created_at LIMIT 1)";
    let his: String = scalar(&stack.database, his).await;
    assert_eq!(his, "1-25 26-50 51-75");
}

#[tokio::test]
async fn what_others_say_does_not_count() {
    let stack = Stack::start().await.unwrap();
    let ada = through_backend(&stack).await;
    // The coach begins, and answers everything; then the product has a word.
    try_append(&ada, message(Coach, "Welcome")).await.unwrap();
    for _ in 0..24 {
        say(&ada, "a question").await;
        try_append(&ada, message(Coach, "an answer")).await.unwrap();
    }
    try_append(&ada, message(System, "a notice")).await.unwrap();
    assert_eq!(jobs(&stack).await, "");
    say(&ada, "the 25th").await;
    assert_eq!(jobs(&stack).await, "2-51");
    try_append(&ada, message(Coach, "an answer")).await.unwrap();
    assert_eq!(jobs(&stack).await, "2-51");
    for _ in 0..25 {
        say(&ada, "more").await;
    }
    assert_eq!(jobs(&stack).await, "2-51 53-77");
}

#[tokio::test]
async fn many_writers_and_a_coach_at_once_cover_each_message_once() {
    let stack = Stack::start().await.unwrap();
    let ada = through_backend(&stack).await;
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
    let made = jobs(&stack).await;
    assert_eq!(made.split(' ').count(), 3, "{made}");
    assert_eq!(made, batches(&stack).await);
    let pending = "SELECT pending_messages::bigint FROM data.conversation_counters";
    assert_eq!(scalar::<i64>(&stack.database, pending).await, 0);
    say(&ada, "the next").await;
    assert_eq!(scalar::<i64>(&stack.database, pending).await, 1);
}

#[tokio::test]
async fn a_repeated_25th_message_makes_one_job() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    for _ in 0..24 {
        say(&ada, "not yet").await;
    }
    let last = message(User, "the 25th");
    let answers = join_all((0..25).map(|_| try_append(&ada, last.clone()))).await;
    for answer in answers {
        assert_eq!(answer.unwrap().number, 25);
    }
    assert_eq!(jobs(&stack).await, "1-25");
}
