//! Many who wait: they stand in line, and only the first looks.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use haven_proto::data::v1::LeaseJobsRequest;
use haven_testkit::{Client, Stack};
use tokio::time::timeout;

use super::{lease, put_job, requeue, requeueing, seconds, wish};
use crate::{eventually::eventually, metrics::Metrics, superuser_sql::execute};

const WORKERS: usize = 30;

/// For how long they wait.
const WAIT: i64 = 6;

/// By when those who are woken have what they were woken for.
const SOON: Duration = Duration::from_millis(500);

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(40);

/// How many jobs a worker got, and when.
type Got = (usize, Instant);

async fn wait(worker: &Client) -> Got {
    let wish = LeaseJobsRequest {
        max_jobs: 1,
        wait: seconds(WAIT),
        ..wish()
    };
    (lease(worker, &wish).await.unwrap().len(), Instant::now())
}

/// How often somebody has looked for jobs.
async fn looks(stack: &Stack) -> f64 {
    let metrics = Metrics::read(stack.data.listeners.metrics).await;
    let looks = metrics.sum(
        "haven_db_transaction_seconds_count",
        &[("transaction", "LeaseJobs")],
    );
    looks.unwrap_or_default()
}

/// Returns once all of the workers have looked in vain.
async fn all_wait(stack: &Stack) {
    eventually("they wait", async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        metrics.sum("haven_rpc_in_flight", &[]) >= Some(WORKERS as f64)
            && looks(stack).await >= WORKERS as f64
    })
    .await;
}

/// Lets so many jobs come together while [`WORKERS`] wait. Answers, for those who got one, how long after that they did.
async fn woken(jobs: i64) -> Vec<Duration> {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let worker = stack.service("backend").unwrap();
    let mut ids = Vec::new();
    for number in 1..=jobs {
        ids.push(put_job(&stack, &ada, number).await);
    }
    let die = "UPDATE data.analysis_jobs SET state = 'dead', finished_at = now()";
    execute(&stack.database, die).await;
    let began = Instant::now();
    let comes = async {
        all_wait(&stack).await;
        join_all(ids.iter().map(|id| async {
            requeue(&worker, &requeueing(&ada, *id)).await.unwrap();
        }))
        .await;
        Instant::now()
    };
    let all = async { tokio::join!(join_all((0..WORKERS).map(|_| wait(&worker))), comes) };
    let (got, came) = timeout(LIMIT, all).await.unwrap();
    let (woken, empty): (Vec<Got>, Vec<Got>) = got.into_iter().partition(|(jobs, _)| *jobs > 0);
    for (_, ended) in &empty {
        let waited = ended.duration_since(began).as_secs_f64();
        assert!((WAIT as f64..WAIT as f64 + 10.0).contains(&waited), "{waited}");
    }
    let after = |(_, at): Got| at.saturating_duration_since(came);
    let woken: Vec<_> = woken.into_iter().map(after).collect();
    let looks = looks(&stack).await;
    eprintln!("{jobs} jobs: after {woken:?}, {looks} looks");
    // Each looks once when it comes; whoever is first in line once a second and when it is told. What they got was read.
    let bound = WORKERS as f64 + 2.0 * WAIT as f64 + 6.0 * jobs as f64;
    assert!(looks <= bound, "{looks} looks, and not {bound}");
    woken
}

/// Sees that so many jobs wake as many workers, and soon: whoever is first in line finds them by themselves within a second.
/// A busy machine makes that late, and not every time.
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
    panic!("they are woken late: {rounds:?}");
}

#[tokio::test]
async fn one_job_is_for_one_of_those_who_wait_and_the_others_end_in_time() {
    wake_as_many(1).await;
}

#[tokio::test]
async fn two_jobs_that_come_together_wake_two() {
    wake_as_many(2).await;
}
