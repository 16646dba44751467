//! Leases that end without a call of their worker: they cost no attempt, and 15 of them make a job dead.

use haven_proto::data::v1::{DeadJob, DeadJobCause};
use haven_testkit::{Client, Person, Stack};
use uuid::Uuid;

use super::{
    complete, dead, end_retry_delays, expire_leases, extend, fail, insert_job, lease, lease_one,
    lease_request, reclaim_leases, requeue, requeue_request, retry_delays::retry_delays,
};
use crate::{metrics::Metrics, superuser_sql::scalar};

/// The number of lost leases after which a job is dead.
const LIMIT: i32 = 15;

/// Starts a stack with one job of one person.
async fn one_job() -> (Stack, Person, Uuid, Client) {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let job = insert_job(&stack, &ada, 1).await;
    let worker = stack.service("worker").unwrap();
    (stack, ada, job, worker)
}

/// Leases the only job, and lets its lease end without another call of the worker.
async fn lose(stack: &Stack, worker: &Client) {
    end_retry_delays(stack).await;
    lease_one(worker, &lease_request()).await;
    reclaim_leases(stack, worker).await;
}

/// Leases the only job, and fails it.
async fn fail_once(stack: &Stack, worker: &Client) {
    end_retry_delays(stack).await;
    let held = lease_one(worker, &lease_request()).await;
    fail(worker, &held).await.unwrap();
}

/// Returns the only dead job.
async fn the_dead_job(worker: &Client) -> DeadJob {
    let mut jobs = dead(worker, 0, "").await.unwrap().jobs;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs.remove(0)
}

/// Returns the metric of dead jobs, by cause.
async fn deaths(stack: &Stack) -> [Option<f64>; 2] {
    let page = Metrics::read(stack.data.listeners.metrics).await;
    ["failed_attempts", "lost_leases"]
        .map(|cause| page.sum("haven_analysis_dead_jobs_total", &[("cause", cause)]))
}

#[tokio::test]
async fn a_job_of_workers_that_die_is_done_by_the_next_one() {
    let (stack, _, _, worker) = one_job().await;
    for _ in 1..=5 {
        lose(&stack, &worker).await;
    }
    assert_eq!(dead(&worker, 0, "").await.unwrap().jobs, []);
    // All three attempts are left.
    fail_once(&stack, &worker).await;
    fail_once(&stack, &worker).await;
    end_retry_delays(&stack).await;
    let held = lease_one(&worker, &lease_request()).await;
    assert_eq!(held.attempt, 8);
    complete(&worker, &held).await.unwrap();
    assert_eq!(deaths(&stack).await, [Some(0.0), Some(0.0)]);
}

#[tokio::test]
async fn a_job_that_kills_each_of_its_workers_is_dead_in_the_end() {
    let (stack, ada, job, worker) = one_job().await;
    let mut shortest = 15.0;
    for lost in 1..LIMIT {
        lose(&stack, &worker).await;
        let [delay] = retry_delays(&stack).await[..] else {
            panic!("not one job")
        };
        // The jitter is up to half of the delay. Some of it has passed during the test.
        assert!(
            (shortest - 10.0..=3.0 * shortest).contains(&delay),
            "{lost}: {delay}"
        );
        assert_eq!(
            lease(&worker, &lease_request()).await.unwrap(),
            [],
            "the job is not due"
        );
        shortest = f64::min(2.0 * shortest, 1800.0);
    }
    assert_eq!(dead(&worker, 0, "").await.unwrap().jobs, []);
    end_retry_delays(&stack).await;
    lease_one(&worker, &lease_request()).await;
    expire_leases(&stack).await;
    // ListDeadJobs shows the job before any worker calls LeaseJobs.
    let listed = the_dead_job(&worker).await;
    assert_eq!(listed.job_id, job.to_string());
    assert_eq!(listed.cause(), DeadJobCause::LostLeases);
    assert_eq!((listed.attempts, listed.lost_leases), (LIMIT, LIMIT));
    assert_eq!(listed.error_code, "LEASE_EXPIRED");
    assert_eq!(lease(&worker, &lease_request()).await.unwrap(), []);
    assert_eq!(deaths(&stack).await, [Some(0.0), Some(1.0)]);

    requeue(&worker, &requeue_request(&ada, job)).await.unwrap();
    lose(&stack, &worker).await;
    for _ in 1..=3 {
        fail_once(&stack, &worker).await;
    }
    let listed = the_dead_job(&worker).await;
    assert_eq!(listed.cause(), DeadJobCause::FailedAttempts);
    assert_eq!((listed.attempts, listed.lost_leases), (LIMIT + 4, 1));
    assert_eq!(deaths(&stack).await, [Some(1.0), Some(1.0)]);
}

#[tokio::test]
async fn a_lease_that_was_extended_and_expires_is_a_failed_attempt() {
    let (stack, _, _, worker) = one_job().await;
    // The lease before was lost, and the lease after the extended ones is not.
    lose(&stack, &worker).await;
    for _ in 1..=3 {
        end_retry_delays(&stack).await;
        let held = lease_one(&worker, &lease_request()).await;
        extend(&worker, &held).await.unwrap();
        reclaim_leases(&stack, &worker).await;
    }
    let listed = the_dead_job(&worker).await;
    assert_eq!(listed.cause(), DeadJobCause::FailedAttempts);
    assert_eq!((listed.attempts, listed.lost_leases), (4, 1));
    assert_eq!(listed.error_code, "LEASE_EXPIRED");
}

#[tokio::test]
async fn an_extension_counts_for_its_own_lease_only() {
    let (stack, _, _, worker) = one_job().await;
    let held = lease_one(&worker, &lease_request()).await;
    extend(&worker, &held).await.unwrap();
    reclaim_leases(&stack, &worker).await;
    for _ in 1..=4 {
        lose(&stack, &worker).await;
    }
    let counts: String = scalar(
        &stack.database,
        "SELECT concat_ws(' ', state, attempts, lost_leases, retry_limit) FROM data.analysis_jobs",
    )
    .await;
    assert_eq!(counts, "queued 5 4 7");
}
