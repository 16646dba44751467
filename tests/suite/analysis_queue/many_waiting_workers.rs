//! Many waiting LeaseJobs calls: they queue, and only the first polls the database.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use haven_proto::data::v1::LeaseJobsRequest;
use haven_testkit::{Client, Stack};
use tokio::time::timeout;

use super::{insert_job, lease, lease_request, requeue, requeue_request, seconds};
use crate::{eventually::eventually, metrics::Metrics, superuser_sql::execute};

const WORKERS: usize = 30;

/// The `wait` of each call, in seconds.
const WAIT: i64 = 6;

/// The time within which a woken worker has its job.
const SOON: Duration = Duration::from_millis(500);

/// A time limit that no step here reaches.
const LIMIT: Duration = Duration::from_secs(40);

/// The number of jobs that a worker got, and the time of the answer.
type Leased = (usize, Instant);

/// Leases at most one job, and waits for it.
async fn wait(worker: &Client) -> Leased {
    let request = LeaseJobsRequest {
        max_jobs: 1,
        wait: seconds(WAIT),
        ..lease_request()
    };
    (lease(worker, &request).await.unwrap().len(), Instant::now())
}

/// Returns the number of LeaseJobs transactions so far.
async fn polls(stack: &Stack) -> f64 {
    let metrics = Metrics::read(stack.data.listeners.metrics).await;
    let polls = metrics.sum(
        "haven_db_transaction_seconds_count",
        &[("transaction", "LeaseJobs")],
    );
    polls.unwrap_or_default()
}

/// Returns when all workers have polled once and wait.
async fn all_wait(stack: &Stack) {
    eventually("all workers wait", async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        metrics.sum("haven_rpc_in_flight", &[]) >= Some(WORKERS as f64)
            && polls(stack).await >= WORKERS as f64
    })
    .await;
}

/// Makes `jobs` jobs due at once while [`WORKERS`] wait. Returns, for each worker that got one, how long after that it
/// did.
async fn woken(jobs: i64) -> Vec<Duration> {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let worker = stack.service("worker").unwrap();
    let mut ids = Vec::new();
    for number in 1..=jobs {
        ids.push(insert_job(&stack, &ada, number).await);
    }
    let kill = "UPDATE data.analysis_jobs SET state = 'dead', finished_at = now()";
    execute(&stack.database, kill).await;
    let began = Instant::now();
    let requeue_all = async {
        all_wait(&stack).await;
        join_all(ids.iter().map(|id| async {
            requeue(&worker, &requeue_request(&ada, *id)).await.unwrap();
        }))
        .await;
        Instant::now()
    };
    let all = async { tokio::join!(join_all((0..WORKERS).map(|_| wait(&worker))), requeue_all) };
    let (leased, requeued) = timeout(LIMIT, all).await.unwrap();
    let (woken, empty): (Vec<Leased>, Vec<Leased>) = leased.into_iter().partition(|(jobs, _)| *jobs > 0);
    for (_, ended) in &empty {
        let waited = ended.duration_since(began).as_secs_f64();
        assert!((WAIT as f64..WAIT as f64 + 10.0).contains(&waited), "{waited}");
    }
    let after = |(_, at): Leased| at.saturating_duration_since(requeued);
    let woken: Vec<_> = woken.into_iter().map(after).collect();
    let polls = polls(&stack).await;
    eprintln!("{jobs} jobs: after {woken:?}, {polls} polls");
    // Each call polls once when it arrives; the first in the queue polls once a second and when it is notified. Leased
    // jobs are read, too.
    let bound = WORKERS as f64 + 2.0 * WAIT as f64 + 6.0 * jobs as f64;
    assert!(polls <= bound, "{polls} polls, more than {bound}");
    woken
}

/// Asserts that `jobs` new jobs wake as many workers within [`SOON`]; without a notification the first in the queue
/// finds them within a second. On a busy machine some rounds are late, so one of three has to be in time.
async fn wake_as_many(jobs: i64) {
    let mut rounds = Vec::new();
    for _ in 0..3 {
        let woken = woken(jobs).await;
        assert_eq!(woken.len(), jobs as usize);
        if woken.iter().all(|after| *after < SOON) {
            return;
        }
        rounds.push(woken);
    }
    panic!("every round was late: {rounds:?}");
}

#[tokio::test]
async fn one_job_wakes_one_waiting_worker_and_the_others_end_in_time() {
    wake_as_many(1).await;
}

#[tokio::test]
async fn two_jobs_wake_two_waiting_workers() {
    wake_as_many(2).await;
}
