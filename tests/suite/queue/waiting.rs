//! Waiting for work: no longer than is said, and not a moment longer than there is none.

use std::time::{Duration, Instant};

use haven_proto::data::v1::{LeaseJobsRequest, SenderType};
use haven_testkit::{Client, Stack, process::Signal};
use tokio::time::timeout;
use tonic::Request;

use super::{complete, lease, lease_one, put_job, requeue, requeueing, say, seconds, wish};
use crate::{eventually::eventually, jobs, metrics::Metrics, sql::execute};

/// Without a signal a worker looks once a second.
const SOON: Duration = Duration::from_millis(500);

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(40);

fn patient_wish() -> LeaseJobsRequest {
    LeaseJobsRequest {
        wait: seconds(30),
        ..wish()
    }
}

/// Returns once a call waits at `stack`'s data.
async fn somebody_waits(stack: &Stack) {
    eventually("a worker waits", async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        metrics.sum("haven_rpc_in_flight", &[]) >= Some(1.0)
    })
    .await;
}

/// Lets `worker` wait, does `then`, and answers how long the worker has waited since.
async fn wakes_after(stack: &Stack, worker: &Client, then: impl AsyncFnOnce()) -> Duration {
    let waits = async {
        let held = lease_one(worker, &patient_wish()).await;
        (held, Instant::now())
    };
    let does = async {
        somebody_waits(stack).await;
        then().await;
        Instant::now()
    };
    let ((held, woken), done) = timeout(LIMIT, async { tokio::join!(waits, does) }).await.unwrap();
    complete(worker, &held).await.unwrap();
    woken.saturating_duration_since(done)
}

#[tokio::test]
async fn who_waits_is_woken_by_what_makes_a_job() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let worker = stack.service("backend").unwrap();
    let mut waits = Vec::new();
    for _ in 0..3 {
        for _ in 1..25 {
            say(&ada, SenderType::User, "something").await;
        }
        let waited = wakes_after(&stack, &worker, async || {
            say(&ada, SenderType::User, "the 25th").await;
        });
        waits.push(waited.await);
    }
    let waited = wakes_after(&stack, &worker, async || {
        jobs::requested(&ada).await;
    });
    waits.push(waited.await);
    let dead = put_job(&stack, &person, 1_000).await;
    let die = "UPDATE data.analysis_jobs SET state = 'dead', finished_at = now() WHERE last_number = 1000";
    execute(&stack.database, die).await;
    let waited = wakes_after(&stack, &worker, async || {
        requeue(&worker, &requeueing(&person, dead)).await.unwrap();
    });
    waits.push(waited.await);
    eprintln!("woken after {waits:?}");
    assert!(waits.iter().all(|waited| *waited < SOON), "{waits:?}");
}

#[tokio::test]
async fn a_job_of_another_replica_is_found_within_about_a_second() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let worker = stack.service("backend").unwrap();
    // What is put into the table by somebody else raises no signal here.
    let waited = wakes_after(&stack, &worker, async || {
        put_job(&stack, &ada, 1).await;
    });
    let waited = waited.await;
    assert!(waited < Duration::from_secs(5), "{waited:?}");
}

#[tokio::test]
async fn no_work_is_an_empty_answer_in_time() {
    let stack = Stack::start().await.unwrap();
    let worker = stack.service("backend").unwrap();
    // The connection is made first.
    assert_eq!(lease(&worker, &wish()).await.unwrap(), []);
    let began = Instant::now();
    assert_eq!(lease(&worker, &wish()).await.unwrap(), []);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());

    let two_seconds = LeaseJobsRequest {
        wait: seconds(2),
        ..wish()
    };
    let began = Instant::now();
    assert_eq!(lease(&worker, &two_seconds).await.unwrap(), []);
    let waited = began.elapsed();
    assert!((2.0..5.0).contains(&waited.as_secs_f64()), "{waited:?}");

    // A caller whose time is shorter than its patience is answered while it still listens.
    let mut request = Request::new(patient_wish());
    request.set_timeout(Duration::from_secs(2));
    let began = Instant::now();
    let answer = worker.queue().lease_jobs(request).await.unwrap().into_inner();
    let waited = began.elapsed();
    assert_eq!(answer.jobs, []);
    assert!((1.5..2.0).contains(&waited.as_secs_f64()), "{waited:?}");
}

#[tokio::test]
async fn who_waits_is_answered_when_the_service_stops() {
    let mut stack = Stack::start().await.unwrap();
    let worker = stack.service("backend").unwrap();
    let waits = tokio::spawn(async move { lease(&worker, &patient_wish()).await });
    somebody_waits(&stack).await;
    let began = Instant::now();
    stack.data.signal(Signal::TERM);
    let answer = timeout(LIMIT, waits).await.unwrap().unwrap();
    assert_eq!(answer.unwrap(), []);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    eventually("data ends", async || stack.data.ended().is_some()).await;
    assert_eq!(stack.data.ended().unwrap().code(), Some(0));
}
