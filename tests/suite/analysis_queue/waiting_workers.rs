//! LeaseJobs with `wait`: the call returns when a job is due, when its wait is over, or when the service stops.

use std::time::{Duration, Instant};

use haven_proto::data::v1::{LeaseJobsRequest, SenderType};
use haven_testkit::{Client, Stack, process::Signal};
use tokio::time::timeout;
use tonic::Request;

use super::{complete, insert_job, lease, lease_one, lease_request, requeue, requeue_request, say, seconds};
use crate::{
    analysis_jobs, eventually::eventually, metrics::Metrics, retry::with_long_timeout, superuser_sql::execute,
};

/// The time within which a notified worker has a job. Without a notification it polls once a second, and finds a job
/// after half a second on average.
const SOON: Duration = Duration::from_millis(250);

/// The number of tries of each kind. A busy machine makes some of them late, but not most.
const ROUNDS: i64 = 5;

/// A time limit that no step here reaches.
const LIMIT: Duration = Duration::from_secs(40);

/// Returns a request that waits for the maximum time.
fn waiting_request() -> LeaseJobsRequest {
    LeaseJobsRequest {
        wait: seconds(30),
        ..lease_request()
    }
}

/// Returns when a call waits at the data service of `stack`.
async fn wait_for_a_waiting_call(stack: &Stack) {
    eventually("a worker waits", async || {
        let metrics = Metrics::read(stack.data.listeners.metrics).await;
        metrics.sum("haven_rpc_in_flight", &[]) >= Some(1.0)
    })
    .await;
}

/// Lets `worker` wait, and then runs `then`. Returns the time from its end until the worker has a job.
async fn wakes_after(stack: &Stack, worker: &Client, then: impl AsyncFnOnce()) -> Duration {
    let wait = async {
        let held = lease_one(worker, &waiting_request()).await;
        (held, Instant::now())
    };
    let act = async {
        wait_for_a_waiting_call(stack).await;
        then().await;
        Instant::now()
    };
    let ((held, woken), done) = timeout(LIMIT, async { tokio::join!(wait, act) }).await.unwrap();
    complete(worker, &held).await.unwrap();
    woken.saturating_duration_since(done)
}

#[tokio::test]
async fn a_waiting_worker_is_woken_by_a_new_job() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let worker = stack.service("worker").unwrap();
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
        let dead = insert_job(&stack, &person, number).await;
        let kill = format!(
            "UPDATE data.analysis_jobs SET state = 'dead', finished_at = now() WHERE last_number = {number}"
        );
        execute(&stack.database, &kill).await;
        let waited = wakes_after(&stack, &worker, async || {
            requeue(&worker, &requeue_request(&person, dead)).await.unwrap();
        });
        requeued.push(waited.await);
    }
    for (what, mut waits) in [
        ("a 25th message", automatic),
        ("a requested analysis", requested),
        ("a requeued job", requeued),
    ] {
        waits.sort_unstable();
        eprintln!("woken by {what} after {waits:?}");
        assert!(waits[waits.len() / 2] < SOON, "{what}: {waits:?}");
    }
}

#[tokio::test]
async fn a_job_of_another_replica_is_found_by_polling() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let worker = stack.service("worker").unwrap();
    // A row that another process inserts notifies no worker of this service.
    let waited = wakes_after(&stack, &worker, async || {
        insert_job(&stack, &ada, 1).await;
    });
    let waited = waited.await;
    assert!(waited < Duration::from_secs(5), "{waited:?}");
}

#[tokio::test]
async fn without_jobs_the_answer_is_empty_when_the_wait_is_over() {
    let stack = Stack::start().await.unwrap();
    let worker = stack.service("worker").unwrap();
    // The first call connects.
    assert_eq!(lease(&worker, &lease_request()).await.unwrap(), []);
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(lease(&worker, &lease_request()).await.unwrap(), []);
        shortest = shortest.min(began.elapsed());
    }
    assert!(shortest < Duration::from_secs(1), "{shortest:?}");

    let two_seconds = LeaseJobsRequest {
        wait: seconds(2),
        ..lease_request()
    };
    let began = Instant::now();
    assert_eq!(lease(&worker, &two_seconds).await.unwrap(), []);
    let waited = began.elapsed();
    assert!((2.0..10.0).contains(&waited.as_secs_f64()), "{waited:?}");

    // A caller with a deadline earlier than its wait is answered before the deadline. The service keeps a fifth of a
    // second for the answer, which on a busy machine is not always enough: then the client's own timer ends the call.
    let mut in_time = false;
    for _ in 0..5 {
        let mut request = Request::new(waiting_request());
        request.set_timeout(Duration::from_secs(2));
        let began = Instant::now();
        if let Ok(answer) = worker.queue().lease_jobs(request).await {
            assert!(began.elapsed() > Duration::from_millis(1_500), "the call waits");
            assert_eq!(answer.into_inner().jobs, []);
            in_time = true;
            break;
        }
    }
    assert!(in_time, "no answer came before the deadline");
}

#[tokio::test]
async fn a_waiting_worker_is_answered_when_the_service_stops() {
    let mut stack = Stack::start().await.unwrap();
    let worker = stack.service("worker").unwrap();
    let waits = tokio::spawn(async move {
        worker
            .queue()
            .lease_jobs(with_long_timeout(waiting_request()))
            .await
    });
    wait_for_a_waiting_call(&stack).await;
    let began = Instant::now();
    stack.data.signal(Signal::TERM);
    let answer = timeout(LIMIT, waits).await.unwrap().unwrap();
    assert_eq!(answer.unwrap().into_inner().jobs, []);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    eventually("data ends", async || stack.data.ended().is_some()).await;
    assert_eq!(stack.data.ended().unwrap().code(), Some(0));
}
