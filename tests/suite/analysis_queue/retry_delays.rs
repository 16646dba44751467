//! The delay before the next attempt, after a failure: by FailJob, or by a lease that was extended and expired.

use haven_testkit::{Client, Stack};

use super::{
    dead, end_retry_delays, extend, fail, insert_job, lease, lease_one, lease_request, reclaim_leases,
    requeue, requeue_request,
};
use crate::superuser_sql::{execute, scalar};

/// Returns the seconds until each queued job is due, by the database's clock.
pub(super) async fn retry_delays(stack: &Stack) -> Vec<f64> {
    scalar(
        &stack.database,
        "SELECT coalesce(array_agg(greatest(0, extract(epoch FROM start_after - now()))::float8), '{}')
         FROM data.analysis_jobs WHERE state = 'queued'",
    )
    .await
}

/// Leases the only job and ends the attempt: by FailJob, or by extending the lease and letting it expire.
async fn end_attempt(stack: &Stack, worker: &Client, by_call: bool) {
    let held = lease_one(worker, &lease_request()).await;
    if by_call {
        fail(worker, &held).await.unwrap();
    } else {
        extend(worker, &held).await.unwrap();
        reclaim_leases(stack, worker).await;
    }
}

#[tokio::test]
async fn retry_delays_grow_and_start_over_after_a_requeue() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let job = insert_job(&stack, &ada, 1).await;
    let worker = stack.service("worker").unwrap();
    for (round, by_call) in [(0, false), (1, true), (2, false)] {
        for (attempt, shortest, longest) in [(1, 15.0, 45.0), (2, 60.0, 180.0)] {
            end_attempt(&stack, &worker, by_call).await;
            let [delay] = retry_delays(&stack).await[..] else {
                panic!("not one job")
            };
            // Some of the delay has passed during the test.
            assert!(
                (shortest - 10.0..=longest).contains(&delay),
                "{round} {attempt}: {delay}"
            );
            assert_eq!(
                lease(&worker, &lease_request()).await.unwrap(),
                [],
                "the job is not due"
            );
            end_retry_delays(&stack).await;
        }
        end_attempt(&stack, &worker, by_call).await;
        let dead_jobs = dead(&worker, 0, "").await.unwrap().jobs;
        assert_eq!(dead_jobs.len(), 1);
        assert_eq!(dead_jobs[0].attempts, 3 * (round + 1));
        requeue(&worker, &requeue_request(&ada, job)).await.unwrap();
    }
}

#[tokio::test]
async fn jobs_with_leases_that_expired_together_get_different_delays() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    for number in 1..=10 {
        insert_job(&stack, &ada, number).await;
    }
    let worker = stack.service("worker").unwrap();
    let jobs = lease(&worker, &lease_request()).await.unwrap();
    assert_eq!(jobs.len(), 10);
    for job in jobs {
        extend(&worker, &job.lease.unwrap()).await.unwrap();
    }
    // A job with a retry limit that an operator set does not block the others.
    let more = "UPDATE data.analysis_jobs SET retry_limit = 9 WHERE last_number = 10";
    execute(&stack.database, more).await;
    reclaim_leases(&stack, &worker).await;
    let mut delays = retry_delays(&stack).await;
    delays.sort_by(f64::total_cmp);
    assert_eq!(delays.len(), 10);
    assert!(delays[0] > 5.0 && delays[9] <= 45.0, "{delays:?}");
    assert!(delays[9] - delays[0] > 1.0, "{delays:?}");
}
