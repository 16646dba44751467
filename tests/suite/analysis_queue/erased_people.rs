//! A person who is erased while a worker has their messages.

use std::collections::BTreeMap;

use haven_proto::data::v1::{EraseUserRequest, EraseUserResponse, JobLease, SenderType};
use haven_testkit::{Client, Person, Stack, random};
use sqlx::AssertSqlSafe;

use super::{complete, extend, fail, lease, lease_one, put_job, requeue, requeueing, say, wish};
use crate::{
    eventually::eventually,
    retry::retry_call,
    status::reason,
    superuser_sql::{execute, scalar},
};

/// How often a completion and an erasure are begun together.
const RACES: usize = 25;

async fn erase(service: &Client, person: &str) -> EraseUserResponse {
    let request = EraseUserRequest {
        user_id: person.to_owned(),
        request_id: random::uuid().to_string(),
    };
    let mut people = service.person();
    let erased = retry_call(request, async |request| people.erase_user(request).await);
    erased.await.unwrap()
}

fn receipt(erased: &EraseUserResponse) -> BTreeMap<&str, i64> {
    let rows = erased.erased.iter();
    rows.map(|row| (row.table.as_str(), row.rows)).collect()
}

/// How many rows of anybody are left in the tables of the queue.
async fn left(stack: &Stack) -> String {
    scalar(
        &stack.database,
        "SELECT concat_ws(' ', (SELECT count(*) FROM data.users), (SELECT count(*) FROM data.conversations),
             (SELECT count(*) FROM data.analysis_jobs), (SELECT count(*) FROM data.analysis_results),
             (SELECT count(*) FROM data.requests))",
    )
    .await
}

#[tokio::test]
async fn the_lease_of_somebody_who_was_erased_is_lost() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    say(&ada, SenderType::User, "something").await;
    let job = put_job(&stack, &person, 1).await;
    put_job(&stack, &person, 2).await;
    let worker = stack.service("backend").unwrap();
    let jobs = lease(&worker, &wish()).await.unwrap();
    let [done, held] = [0, 1].map(|one| jobs[one].lease.clone().unwrap());
    complete(&worker, &done).await.unwrap();

    let erased = erase(&worker, &person.id.to_string()).await;
    let receipt = receipt(&erased);
    for (table, rows) in [
        ("data.users", 1),
        ("data.conversations", 1),
        ("data.analysis_jobs", 2),
        ("data.analysis_results", 1),
        ("data.requests", 2),
    ] {
        assert_eq!(receipt.get(table), Some(&rows), "{table}");
    }
    let outcomes = [
        complete(&worker, &held).await.map(drop),
        fail(&worker, &held).await.map(drop),
        extend(&worker, &held).await.map(drop),
    ];
    for outcome in outcomes {
        assert_eq!(reason(&outcome.unwrap_err()), "LEASE_LOST");
    }
    let status = requeue(&worker, &requeueing(&person, job)).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    assert_eq!(lease(&worker, &wish()).await.unwrap(), []);
    assert_eq!(left(&stack).await, "0 0 0 0 0");
}

/// Somebody with a job that is leased.
async fn somebody(stack: &Stack, worker: &Client) -> (Person, JobLease) {
    let person = Person {
        id: random::uuid(),
        email: String::new(),
        password: String::new(),
        token: String::new(),
        session_id: random::uuid(),
        refresh_token: String::new(),
    };
    let known = format!(
        "INSERT INTO data.users (id, created_at) VALUES ('{}', now())",
        person.id
    );
    execute(&stack.database, &known).await;
    put_job(stack, &person, 1).await;
    let held = lease_one(worker, &wish()).await;
    (person, held)
}

#[tokio::test]
async fn of_an_erasure_and_an_end_at_once_both_are_whole() {
    let stack = Stack::start().await.unwrap();
    let worker = stack.service("backend").unwrap();
    let (mut completed, mut lost) = (0, 0);
    for race in 0..RACES {
        let (person, held) = somebody(&stack, &worker).await;
        let id = person.id.to_string();
        // Workers who look for more take and give back jobs meanwhile.
        let (erased, outcome, _, _) = tokio::join!(
            erase(&worker, &id),
            async {
                match race % 2 {
                    0 => complete(&worker, &held).await.map(drop),
                    _ => fail(&worker, &held).await.map(drop),
                }
            },
            async { lease(&worker, &wish()).await.unwrap() },
            async { extend(&worker, &held).await.map(drop) },
        );
        let receipt = receipt(&erased);
        assert_eq!(receipt["data.analysis_jobs"], 1);
        let stored = match outcome {
            Ok(()) => {
                completed += 1;
                1
            }
            Err(status) => {
                assert_eq!(reason(&status), "LEASE_LOST");
                lost += 1;
                0
            }
        };
        assert_eq!(receipt["data.requests"], stored, "what was answered was stored");
        let results = if race % 2 == 0 { stored } else { 0 };
        assert_eq!(receipt["data.analysis_results"], results);
        assert_eq!(left(&stack).await, "0 0 0 0 0");
    }
    eprintln!("{completed} were there before the erasure, {lost} were not");
    let log = stack.data.output().unwrap();
    assert!(!log.contains("40P01"), "a deadlock");
}

/// What an erasure does, held up in the middle: it has the person, and not yet what belongs to them.
async fn erase_around(stack: &Stack, person: &Person, during: impl Future<Output = String>) -> String {
    let mut eraser = stack.database.connect("postgres").await.unwrap();
    let begin = format!(
        "BEGIN; SELECT FROM data.users WHERE id = '{}' FOR UPDATE",
        person.id
    );
    sqlx::raw_sql(AssertSqlSafe(begin))
        .execute(&mut eraser)
        .await
        .unwrap();
    let goes_on = async {
        eventually("the call waits for the person", async || {
            let waiting: i64 = scalar(
                &stack.database,
                "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'",
            )
            .await;
            waiting == 1
        })
        .await;
        let end = format!("DELETE FROM data.users WHERE id = '{}'; COMMIT", person.id);
        sqlx::raw_sql(AssertSqlSafe(end))
            .execute(&mut eraser)
            .await
            .unwrap();
    };
    tokio::join!(during, goes_on).0
}

#[tokio::test]
async fn an_erasure_that_has_begun_waits_for_no_worker() {
    let stack = Stack::start().await.unwrap();
    let worker = stack.service("backend").unwrap();
    let (person, held) = somebody(&stack, &worker).await;
    let completes = async { reason(&complete(&worker, &held).await.unwrap_err()) };
    assert_eq!(erase_around(&stack, &person, completes).await, "LEASE_LOST");

    let (person, held) = somebody(&stack, &worker).await;
    let fails = async { reason(&fail(&worker, &held).await.unwrap_err()) };
    assert_eq!(erase_around(&stack, &person, fails).await, "LEASE_LOST");

    let (person, held) = somebody(&stack, &worker).await;
    let die = "UPDATE data.analysis_jobs SET state = 'dead', lease_token = NULL, lease_holder = NULL,
         lease_expires_at = NULL, finished_at = now()";
    execute(&stack.database, die).await;
    let request = requeueing(&person, held.job_id.parse().unwrap());
    let requeues = async { reason(&requeue(&worker, &request).await.unwrap_err()) };
    assert_eq!(erase_around(&stack, &person, requeues).await, "NOT_FOUND");
    assert_eq!(left(&stack).await, "0 0 0 0 0");
}
