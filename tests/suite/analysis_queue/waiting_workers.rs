//! Waiting for work: no longer than is said, and not a moment longer than there is none.

use std::time::{Duration, Instant};

use haven_proto::data::v1::{LeaseJobsRequest, SenderType};
use haven_testkit::{Client, Stack, process::Signal};
use tokio::time::timeout;
use tonic::Request;

use super::{complete, lease, lease_one, put_job, requeue, requeueing, say, seconds, wish};
use crate::{
    analysis_jobs, eventually::eventually, metrics::Metrics, retry::with_long_timeout, superuser_sql::execute,
};

/// Without a signal a worker looks once a second, and finds a job half a second after it came, more or less.
const SOON: Duration = Duration::from_millis(250);

/// How often each kind is tried: a busy machine makes some late, and not most.
const ROUNDS: i64 = 5;

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
    let (mut automatic, mut requested, mut requeued) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for _ in 1..25 {
            say(&ada, SenderType::User, "something").await;
        }
        let waited = wakes_after(&stack, &worker, async || {
            say(&ada, SenderType::User, "the 25th").await;
        });
        automatic.push(waited.await);
        let waited = wakes_after(&stack, &worker, async || {
            analysis_jobs::requested(&ada).await;
        });
        requested.push(waited.await);
        let number = 1_000 + round;
        let dead = put_job(&stack, &person, number).await;
        let die = format!(
            "UPDATE data.analysis_jobs SET state = 'dead', finished_at = now() WHERE last_number = {number}"
        );
        execute(&stack.database, &die).await;
        let waited = wakes_after(&stack, &worker, async || {
            requeue(&worker, &requeueing(&person, dead)).await.unwrap();
        });
        requeued.push(waited.await);
    }
    for (what, mut waits) in [
        ("a 25th message", automatic),
        ("a wish", requested),
        ("a requeued one", requeued),
    ] {
        waits.sort_unstable();
        eprintln!("woken by {what} after {waits:?}");
        assert!(waits[waits.len() / 2] < SOON, "{what}: {waits:?}");
    }
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
    let mut least = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(lease(&worker, &wish()).await.unwrap(), []);
        least = least.min(began.elapsed());
    }
    assert!(least < Duration::from_secs(1), "{least:?}");

    let two_seconds = LeaseJobsRequest {
        wait: seconds(2),
        ..wish()
    };
    let began = Instant::now();
    assert_eq!(lease(&worker, &two_seconds).await.unwrap(), []);
    let waited = began.elapsed();
    assert!((2.0..10.0).contains(&waited.as_secs_f64()), "{waited:?}");

    // A caller whose time is shorter than its patience is answered while it still listens. What is kept for the answer is
    // a fifth of a second, which on a busy machine is not always enough; then the caller's own clock answers.
    let mut in_time = false;
    for _ in 0..5 {
        let mut request = Request::new(patient_wish());
        request.set_timeout(Duration::from_secs(2));
        let began = Instant::now();
        if let Ok(answer) = worker.queue().lease_jobs(request).await {
            assert!(began.elapsed() > Duration::from_millis(1_500), "it waits");
            assert_eq!(answer.into_inner().jobs, []);
            in_time = true;
            break;
        }
    }
    assert!(in_time, "never answered in time");
}

#[tokio::test]
async fn who_waits_is_answered_when_the_service_stops() {
    let mut stack = Stack::start().await.unwrap();
    let worker = stack.service("backend").unwrap();
    let waits =
        tokio::spawn(async move { worker.queue().lease_jobs(with_long_timeout(patient_wish())).await });
    somebody_waits(&stack).await;
    let began = Instant::now();
    stack.data.signal(Signal::TERM);
    let answer = timeout(LIMIT, waits).await.unwrap().unwrap();
    assert_eq!(answer.unwrap().into_inner().jobs, []);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    eventually("data ends", async || stack.data.ended().is_some()).await;
    assert_eq!(stack.data.ended().unwrap().code(), Some(0));
}
