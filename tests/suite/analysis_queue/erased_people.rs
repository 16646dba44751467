//! People who are erased while a worker holds a lease on their jobs.

use std::collections::BTreeMap;

use haven_proto::data::v1::{EraseUserRequest, EraseUserResponse, JobLease, SenderType};
use haven_testkit::{Client, Person, Stack, random};
use sqlx::AssertSqlSafe;

use super::{
    complete, extend, fail, insert_job, lease, lease_one, lease_request, requeue, requeue_request, say,
};
use crate::{
    eventually::eventually,
    retry::retry_call,
    status::reason,
    superuser_sql::{execute, scalar},
};

/// The number of races between an erasure and a completion or a failure.
const RACES: usize = 25;

/// Erases a person, with retries.
async fn erase(service: &Client, person: &str) -> EraseUserResponse {
    let request = EraseUserRequest {
        user_id: person.to_owned(),
        request_id: random::uuid().to_string(),
    };
    let mut people = service.person();
    let erased = retry_call(request, async |request| people.erase_user(request).await);
    erased.await.unwrap()
}

/// Returns the number of erased rows of each table.
fn receipt(erased: &EraseUserResponse) -> BTreeMap<&str, i64> {
    let rows = erased.erased.iter();
    rows.map(|row| (row.table.as_str(), row.rows)).collect()
}

/// Returns the number of rows, of all people, in the tables of the queue.
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
async fn leases_on_jobs_of_an_erased_person_are_lost() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    say(&ada, SenderType::User, "something").await;
    let job = insert_job(&stack, &person, 1).await;
    insert_job(&stack, &person, 2).await;
    let worker = stack.service("worker").unwrap();
    let jobs = lease(&worker, &lease_request()).await.unwrap();
    let [done, held] = [0, 1].map(|one| jobs[one].lease.clone().unwrap());
    complete(&worker, &done).await.unwrap();

    let erased = erase(&stack.service("identity").unwrap(), &person.id.to_string()).await;
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
    let status = requeue(&worker, &requeue_request(&person, job))
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    assert_eq!(lease(&worker, &lease_request()).await.unwrap(), []);
    assert_eq!(left(&stack).await, "0 0 0 0 0");
}

/// Inserts a person with a leased job.
async fn person_with_lease(stack: &Stack, worker: &Client) -> (Person, JobLease) {
    let person = Person {
        id: random::uuid(),
        email: String::new(),
        password: String::new(),
        token: String::new(),
        session_id: random::uuid(),
        refresh_token: String::new(),
    };
    let insert = format!(
        "INSERT INTO data.users (id, created_at) VALUES ('{}', now())",
        person.id
    );
    execute(&stack.database, &insert).await;
    insert_job(stack, &person, 1).await;
    let held = lease_one(worker, &lease_request()).await;
    (person, held)
}

#[tokio::test]
async fn a_concurrent_erasure_and_end_of_a_job_are_both_atomic() {
    let stack = Stack::start().await.unwrap();
    let worker = stack.service("worker").unwrap();
    let identity = stack.service("identity").unwrap();
    let (mut completed, mut lost) = (0, 0);
    for race in 0..RACES {
        let (person, held) = person_with_lease(&stack, &worker).await;
        let id = person.id.to_string();
        // Another lease request and an extension run at the same time.
        let (erased, outcome, _, _) = tokio::join!(
            erase(&identity, &id),
            async {
                match race % 2 {
                    0 => complete(&worker, &held).await.map(drop),
                    _ => fail(&worker, &held).await.map(drop),
                }
            },
            async { lease(&worker, &lease_request()).await.unwrap() },
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
        assert_eq!(
            receipt["data.requests"], stored,
            "an answered call has stored its answer"
        );
        let results = if race % 2 == 0 { stored } else { 0 };
        assert_eq!(receipt["data.analysis_results"], results);
        assert_eq!(left(&stack).await, "0 0 0 0 0");
    }
    eprintln!("{completed} calls were made before the erasure, {lost} lost their lease");
    let log = stack.data.output().unwrap();
    assert!(!log.contains("40P01"), "a deadlock");
}

/// Erases `person` around `during`: locks the person's row first, and deletes it when `during` waits for it.
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
    let delete = async {
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
    tokio::join!(during, delete).0
}

#[tokio::test]
async fn an_erasure_does_not_wait_for_workers() {
    let stack = Stack::start().await.unwrap();
    let worker = stack.service("worker").unwrap();
    let (person, held) = person_with_lease(&stack, &worker).await;
    let completes = async { reason(&complete(&worker, &held).await.unwrap_err()) };
    assert_eq!(erase_around(&stack, &person, completes).await, "LEASE_LOST");

    let (person, held) = person_with_lease(&stack, &worker).await;
    let fails = async { reason(&fail(&worker, &held).await.unwrap_err()) };
    assert_eq!(erase_around(&stack, &person, fails).await, "LEASE_LOST");

    let (person, held) = person_with_lease(&stack, &worker).await;
    let kill = "UPDATE data.analysis_jobs SET state = 'dead', lease_token = NULL, lease_holder = NULL,
         lease_expires_at = NULL, finished_at = now()";
    execute(&stack.database, kill).await;
    let request = requeue_request(&person, held.job_id.parse().unwrap());
    let requeues = async { reason(&requeue(&worker, &request).await.unwrap_err()) };
    assert_eq!(erase_around(&stack, &person, requeues).await, "NOT_FOUND");
    assert_eq!(left(&stack).await, "0 0 0 0 0");
}
