//! Messages that do not open: their job fails, and other jobs are leased.

use haven_proto::data::v1::{LeaseJobsRequest, SenderType};
use haven_testkit::Stack;

use super::{dead, end_retry_delays, insert_job, lease, lease_request, say};
use crate::superuser_sql::{execute, scalar};

#[tokio::test]
async fn a_job_with_a_message_that_does_not_open_fails_alone() {
    let stack = Stack::start().await.unwrap();
    let (person, other) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&person).unwrap(), stack.user(&other).unwrap());
    let hers = say(&ada, SenderType::User, "Ada's").await;
    let his = say(&bob, SenderType::User, "Bob's").await;
    insert_job(&stack, &person, 1).await;
    insert_job(&stack, &other, 1).await;
    // Copy a token into another row, as a user with the owner's rights could.
    let moved = format!(
        "UPDATE data.conversations AS c SET message_text = o.message_text FROM data.conversations AS o
         WHERE c.id = '{}' AND o.id = '{}'",
        hers.id, his.id
    );
    execute(&stack.database, &moved).await;
    let worker = stack.service("worker").unwrap();
    let jobs = lease(&worker, &lease_request()).await.unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].messages, [his]);
    for _ in 2..=3 {
        let row: String = scalar(
            &stack.database,
            "SELECT concat_ws(' ', state, last_error, start_after > now()) FROM data.analysis_jobs WHERE state <> 'leased'",
        )
        .await;
        assert_eq!(row, "queued MESSAGES_UNREADABLE t");
        end_retry_delays(&stack).await;
        assert_eq!(lease(&worker, &lease_request()).await.unwrap(), []);
    }
    let listed = dead(&worker, 0, "").await.unwrap().jobs;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].user_id, person.id.to_string());
    assert_eq!(
        (listed[0].error_code.as_str(), listed[0].attempts),
        ("MESSAGES_UNREADABLE", 3)
    );

    let log = stack.data.output().unwrap();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("cannot be opened"))
        .collect();
    assert_eq!(lines.len(), 3);
    assert!(
        lines[0].contains(&hers.id) && lines[0].contains("belongs to another person, row or field"),
        "{}",
        lines[0]
    );
}

#[tokio::test]
async fn a_worker_gets_the_next_job_after_jobs_that_do_not_open() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    for number in 1..=4 {
        say(&ada, SenderType::User, &format!("the {number}th")).await;
    }
    let mut ids = Vec::new();
    for number in 1..=4 {
        ids.push(insert_job(&stack, &person, number).await.to_string());
    }
    // The first three, which come first, do not open.
    let moved =
        "UPDATE data.conversations AS c SET message_text = o.message_text FROM data.conversations AS o
         WHERE c.number <= 3 AND o.number = 4;
         UPDATE data.analysis_jobs SET start_after = now() - interval '1 minute' WHERE last_number <= 3";
    execute(&stack.database, moved).await;
    let worker = stack.service("worker").unwrap();
    let two = LeaseJobsRequest {
        max_jobs: 2,
        ..lease_request()
    };
    let jobs = lease(&worker, &two).await.unwrap();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].messages[0].text, "the 4th");
    assert_eq!(jobs[0].lease.as_ref().unwrap().job_id, ids[3]);
    let rows: String = scalar(
        &stack.database,
        "SELECT string_agg(concat_ws(' ', state, attempts, last_error), ', ' ORDER BY last_number) FROM data.analysis_jobs",
    )
    .await;
    let failed = "queued 1 MESSAGES_UNREADABLE";
    assert_eq!(rows, format!("{failed}, {failed}, {failed}, leased 1"));
}
