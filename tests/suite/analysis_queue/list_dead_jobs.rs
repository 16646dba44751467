//! ListDeadJobs: a dead job is listed with its cause until it is requeued.

use std::time::{Duration, SystemTime};

use haven_proto::data::v1::{AnalysisJobState, DeadJobCause};
use haven_testkit::{Client, Stack};

use super::{
    complete, dead, end_retry_delays, fail, insert_job, lease, lease_one, lease_request, requeue,
    requeue_request, retry_delays::retry_delays,
};
use crate::{
    analysis_jobs,
    status::{reason, violations},
    superuser_sql::{execute, scalar},
};

#[tokio::test]
async fn after_three_failures_a_job_is_dead_until_it_is_requeued() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let id = analysis_jobs::requested(&ada).await;
    let worker = stack.service("worker").unwrap();
    for (attempt, shortest, longest) in [(1, 15, 45), (2, 60, 180)] {
        let held = lease_one(&worker, &lease_request()).await;
        assert_eq!(held.attempt, attempt);
        let answer = fail(&worker, &held).await.unwrap();
        assert_eq!(answer.state(), AnalysisJobState::Queued);
        let [delay] = retry_delays(&stack).await[..] else {
            panic!("not one job")
        };
        let delay = Duration::from_secs_f64(delay);
        // Some of the delay has passed during the test.
        let bounds = Duration::from_secs(shortest - 10)..=Duration::from_secs(longest);
        assert!(bounds.contains(&delay), "{delay:?}");
        let retry = SystemTime::try_from(answer.retry_time.unwrap()).unwrap();
        let retry = retry.duration_since(SystemTime::now()).unwrap();
        assert!(
            retry.abs_diff(delay) < Duration::from_secs(5),
            "{retry:?} and {delay:?}"
        );
        assert_eq!(
            lease(&worker, &lease_request()).await.unwrap(),
            [],
            "the job is not due"
        );
        assert_eq!(dead(&worker, 0, "").await.unwrap().jobs, []);
        end_retry_delays(&stack).await;
    }
    let held = lease_one(&worker, &lease_request()).await;
    let answer = fail(&worker, &held).await.unwrap();
    assert_eq!(
        (answer.state(), answer.retry_time),
        (AnalysisJobState::Dead, None)
    );
    end_retry_delays(&stack).await;
    assert_eq!(
        lease(&worker, &lease_request()).await.unwrap(),
        [],
        "the job is dead"
    );

    let listed = dead(&worker, 0, "").await.unwrap().jobs;
    let [job] = listed.as_slice() else {
        panic!("{listed:?}")
    };
    assert_eq!((&job.user_id, &job.job_id), (&person.id.to_string(), &id));
    assert_eq!((job.first_number, job.last_number, job.attempts), (1, 1, 3));
    assert_eq!(job.error_code, "MODEL_DOWN");
    assert_eq!((job.cause(), job.lost_leases), (DeadJobCause::FailedAttempts, 0));
    assert!(job.dead_time.as_ref().unwrap().seconds >= job.create_time.as_ref().unwrap().seconds);

    requeue(&worker, &requeue_request(&person, id.parse().unwrap()))
        .await
        .unwrap();
    assert_eq!(dead(&worker, 0, "").await.unwrap().jobs, []);
    let held = lease_one(&worker, &lease_request()).await;
    assert_eq!((&held.job_id, held.attempt), (&id, 4));
    complete(&worker, &held).await.unwrap();
    let row: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', state, attempts, last_error) FROM data.analysis_jobs",
    )
    .await;
    assert_eq!(row, "done 4");
}

/// Returns the last message number of every dead job, page by page, and the number of pages.
async fn all(worker: &Client, size: i32) -> (Vec<i64>, usize) {
    let (mut numbers, mut pages, mut token) = (Vec::new(), 0, String::new());
    loop {
        let page = dead(worker, size, &token).await.unwrap();
        assert!(page.jobs.len() <= size as usize);
        numbers.extend(page.jobs.iter().map(|job| job.last_number));
        pages += 1;
        assert!(pages <= 11, "the pages do not end");
        token = page.next_page_token;
        if token.is_empty() {
            return (numbers, pages);
        }
    }
}

#[tokio::test]
async fn pages_list_each_dead_job_once_the_longest_dead_first() {
    let stack = Stack::builder()
        .admit("data", "another=analysis")
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    for number in 1..=11 {
        insert_job(&stack, &ada, number).await;
    }
    // Two jobs each have the same time.
    let kill = "UPDATE data.analysis_jobs SET state = 'dead', attempts = 3, last_error = 'X',
         finished_at = now() - last_number / 2 * interval '1 minute'";
    execute(&stack.database, kill).await;
    let worker = stack.service("worker").unwrap();
    let (whole, pages) = all(&worker, 200).await;
    assert_eq!((whole.len(), pages), (11, 1));
    assert!(whole.is_sorted_by_key(|number| -(number / 2)), "{whole:?}");
    for (size, expected) in [(1, 11), (2, 6), (5, 3), (11, 1)] {
        assert_eq!(all(&worker, size).await, (whole.clone(), expected), "{size}");
    }

    let token = dead(&worker, 2, "").await.unwrap().next_page_token;
    let other = stack.service("another").unwrap();
    for (service, token) in [(&other, token.as_str()), (&worker, &token[1..]), (&worker, "x")] {
        let status = dead(service, 2, token).await.unwrap_err();
        assert_eq!(reason(&status), "PAGE_TOKEN_INVALID");
    }
    let status = dead(&worker, -1, "").await.unwrap_err();
    assert_eq!(
        violations(&status),
        [("page_size".to_owned(), "NEGATIVE".to_owned())]
    );
}
