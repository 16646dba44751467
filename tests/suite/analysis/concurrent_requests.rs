//! Concurrent requests, messages and workers: every message is in one job.

use futures_util::future::{join, join_all};
use haven_proto::data::v1::{AnalysisJobState, SenderType};
use haven_testkit::Stack;

use super::{ask, put, range, say, say_as};
use crate::{
    status::reason,
    superuser_sql::{execute, scalar},
};

/// Counts broken invariants over all people: a person's message in two jobs; a message that is neither in a job nor
/// counted as pending; an automatic job that does not cover 25 messages, or a job that covers none; a message in no job
/// although a newer one is in one.
const BROKEN_INVARIANTS: &str = "
    WITH written AS (
        SELECT c.user_id, c.number,
            (SELECT count(*) FROM data.analysis_jobs AS j
                WHERE j.user_id = c.user_id AND c.number BETWEEN j.first_number AND j.last_number) AS jobs
        FROM data.conversations AS c WHERE c.sender_type = 'user'
    ), held AS (
        SELECT j.requested, (SELECT count(*) FROM written AS s
            WHERE s.user_id = j.user_id AND s.number BETWEEN j.first_number AND j.last_number) AS messages
        FROM data.analysis_jobs AS j
    )
    SELECT (SELECT count(*) FROM written WHERE jobs > 1)
        + (SELECT count(*) FROM data.conversation_counters AS c WHERE c.pending_messages
            <> (SELECT count(*) FROM written AS s WHERE s.user_id = c.user_id AND s.jobs = 0))
        + (SELECT count(*) FROM held WHERE messages NOT BETWEEN 1 AND 25 OR (NOT requested AND messages <> 25))
        + (SELECT count(*) FROM written AS s WHERE s.jobs = 0
            AND EXISTS (SELECT FROM data.analysis_jobs AS j WHERE j.user_id = s.user_id AND j.last_number > s.number))";

#[tokio::test]
async fn every_message_is_in_one_job() {
    let stack = Stack::start().await.unwrap();
    let people = [stack.person().await.unwrap(), stack.person().await.unwrap()];
    let people = people.map(|person| {
        let backend = stack.service("backend").unwrap();
        (
            stack.user(&person).unwrap(),
            backend.with_token(&person.token).unwrap(),
        )
    });
    let writers = people.iter().flat_map(|(person, coach)| {
        (0..4).map(async move |_| {
            for _ in 0..15 {
                say(person, 1).await;
                say_as(coach, SenderType::Coach).await.unwrap();
            }
        })
    });
    let askers = people.iter().flat_map(|(person, _)| {
        (0..3).map(|_| async {
            for _ in 0..20 {
                match ask(person).await {
                    // The job is done at once, so that the next request finds no open one.
                    Ok(job) => put(&stack, &job, AnalysisJobState::Done).await,
                    Err(status) => assert_eq!(reason(&status), "NOTHING_TO_ANALYZE"),
                }
            }
        })
    });
    join(join_all(writers), join_all(askers)).await;
    assert_eq!(scalar::<i64>(&stack.database, BROKEN_INVARIANTS).await, 0);
    let written: i64 = scalar(
        &stack.database,
        "SELECT count(*) FROM data.conversations WHERE sender_type = 'user'",
    )
    .await;
    assert_eq!(written, 2 * 4 * 15);
    let requested: i64 = scalar(
        &stack.database,
        "SELECT count(*) FROM data.analysis_jobs WHERE requested",
    )
    .await;
    assert!(requested > 2, "too few requests between messages: {requested}");

    // The remaining messages go into one more job for each person.
    for (person, _) in &people {
        while let Ok(job) = ask(person).await {
            put(&stack, &job, AnalysisJobState::Done).await;
        }
    }
    let covered: i64 = scalar(
        &stack.database,
        "SELECT count(*) FROM data.conversations AS c JOIN data.analysis_jobs AS j
             ON j.user_id = c.user_id AND c.number BETWEEN j.first_number AND j.last_number
         WHERE c.sender_type = 'user'",
    )
    .await;
    assert_eq!(covered, written);
    assert_eq!(scalar::<i64>(&stack.database, BROKEN_INVARIANTS).await, 0);
}

#[tokio::test]
async fn a_request_during_the_25th_message_covers_24_or_25_messages() {
    let stack = Stack::start().await.unwrap();
    for _ in 0..5 {
        let ada = stack.user(&stack.person().await.unwrap()).unwrap();
        say(&ada, 24).await;
        let (written, requested) = join(say(&ada, 1), ask(&ada)).await;
        assert_eq!(written.unwrap().number, 25);
        let requested = range(&requested.unwrap());
        assert!(requested == (1, 24) || requested == (1, 25), "{requested:?}");
    }
    assert_eq!(scalar::<i64>(&stack.database, BROKEN_INVARIANTS).await, 0);
}

/// A request locks the person's counter before it creates a job. After waiting for the lock it reads the jobs again.
#[tokio::test]
async fn a_request_that_waited_for_another_gets_its_job() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    say(&ada, 5).await;
    let mut other = stack.database.connect("postgres").await.unwrap();
    let run = async |other: &mut sqlx::PgConnection, sql: &'static str| {
        sqlx::raw_sql(sql).execute(other).await.unwrap();
    };
    run(
        &mut other,
        "BEGIN; SELECT FROM data.conversation_counters FOR UPDATE",
    )
    .await;
    let requests = join_all((0..10).map(|_| ask(&ada)));
    let insert_job = async {
        crate::eventually::eventually("two requests wait for the counter", async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity
                           WHERE wait_event_type = 'Lock' AND datname = current_database()";
            scalar::<i64>(&stack.database, waiting).await >= 2
        })
        .await;
        run(
            &mut other,
            "UPDATE data.conversation_counters SET pending_messages = 0;
             INSERT INTO data.analysis_jobs
                 (user_id, id, first_number, last_number, requested, priority, start_after, created_at)
             SELECT user_id, '01890a5d-ac96-774b-bcce-b302099a8057', 1, 5, true, 1, now(), now()
             FROM data.conversation_counters;
             COMMIT",
        )
        .await;
    };
    let limit = std::time::Duration::from_secs(60);
    let (answers, ()) = tokio::time::timeout(limit, join(requests, insert_job))
        .await
        .unwrap();
    for answer in answers {
        assert_eq!(answer.unwrap().id, "01890a5d-ac96-774b-bcce-b302099a8057");
    }
}

/// RequeueJob puts a dead requested job back into the queue without the lock on the counter.
#[tokio::test]
async fn a_request_during_a_requeue_returns_the_requeued_job() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    say(&ada, 2).await;
    let dead = ask(&ada).await.unwrap();
    put(&stack, &dead, AnalysisJobState::Dead).await;
    say(&ada, 2).await;
    let mut other = stack.database.connect("postgres").await.unwrap();
    let requeue =
        "BEGIN; UPDATE data.analysis_jobs SET state = 'queued', finished_at = NULL, start_after = now()";
    sqlx::raw_sql(requeue).execute(&mut other).await.unwrap();
    let commit = async {
        crate::eventually::eventually("the request waits for the requeued job", async || {
            let waiting = "SELECT count(*) FROM pg_stat_activity
                           WHERE wait_event_type = 'Lock' AND datname = current_database()";
            scalar::<i64>(&stack.database, waiting).await >= 1
        })
        .await;
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    };
    let limit = std::time::Duration::from_secs(60);
    let (requested, ()) = tokio::time::timeout(limit, join(ask(&ada), commit))
        .await
        .unwrap();
    assert_eq!(requested.unwrap().id, dead.id);
    // Pending messages stay pending until that job is finished.
    execute(
        &stack.database,
        "UPDATE data.analysis_jobs SET state = 'done', finished_at = now()",
    )
    .await;
    assert_eq!(range(&ask(&ada).await.unwrap()), (3, 4));
}
