//! Jobs that another replica stored: a waiting worker hears of them where the replicas listen.

use std::time::{Duration, Instant};

use haven_proto::data::v1::{LeaseJobsRequest, RequestAnalysisRequest, SenderType};
use haven_testkit::{Client, Stack, port::Port, random, service::Service};

use super::{complete, lease_one, lease_request, say, seconds};
use crate::{
    eventually::eventually,
    metrics::Metrics,
    replica::replica,
    superuser_sql::{execute, scalar},
};

/// The time within which 19 of 20 waiting workers have a job: less than half of what an average poll takes, also on a machine
/// that is busy with other tests. A quiet one needs a few milliseconds, which the test prints.
const SOON: Duration = Duration::from_millis(150);

/// The number of jobs that are picked up.
const ROUNDS: usize = 40;

/// The sessions that listen. The last statement of each is a sign of life, or one of these.
const LISTENERS: &str = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'data_worker'
    AND datname = current_database() AND query ~ 'LISTEN|NOTIFY|current_database'";

async fn listens(service: &Service, listening: bool) {
    eventually("the replica listens, or does not", async || {
        let metrics = Metrics::read(service.listeners.metrics).await;
        metrics.sum("haven_db_listening", &[]) == Some(f64::from(u8::from(listening)))
    })
    .await;
}

/// Returns a client of the service `name` at `replica`.
fn client_at(stack: &Stack, replica: &Service, name: &str) -> Client {
    Client::new(
        &stack.certificates,
        Some(name),
        stack.identity.listeners,
        replica.listeners,
    )
    .unwrap()
}

/// Lets `worker` wait, requests an analysis of a new message of `person`, and returns the time from the answer until the worker
/// has the job.
async fn picked_up_after(person: &Client, worker: &Client) -> Duration {
    say(person, SenderType::User, "something").await;
    let request = LeaseJobsRequest {
        wait: seconds(30),
        ..lease_request()
    };
    let wait = async {
        let held = lease_one(worker, &request).await;
        (held, Instant::now())
    };
    let act = async {
        // Long enough to be waiting. The poll that follows is as long away as it can be.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let request = RequestAnalysisRequest {
            request_id: random::uuid().to_string(),
        };
        person.analysis().request_analysis(request).await.unwrap();
        Instant::now()
    };
    let ((held, picked_up), requested) = tokio::join!(wait, act);
    complete(worker, &held).await.unwrap();
    picked_up.saturating_duration_since(requested)
}

/// Returns the time that 19 of 20 of `times` do not exceed.
fn p95(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() * 95 / 100 - 1]
}

#[tokio::test]
async fn a_waiting_worker_is_woken_by_a_job_of_another_replica() {
    let stack = Stack::builder().listening().start().await.unwrap();
    let ports = [(); 3].map(|()| Port::reserve().unwrap());
    let other = replica(&stack.data, &ports).await;
    for service in [&stack.data, &other] {
        listens(service, true).await;
    }
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let worker = client_at(&stack, &other, "worker");
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(picked_up_after(&ada, &worker).await);
    }
    let p95 = p95(&mut times);
    eprintln!("picked up after {:?} (median), {p95:?} (p95)", times[ROUNDS / 2]);
    assert!(p95 < SOON, "{times:?}");
    let log = stack.data.output().unwrap() + &other.output().unwrap();
    assert_eq!(log.matches("are not heard").count(), 0, "{log}");
}

#[tokio::test]
async fn a_lost_connection_is_opened_again_and_polling_goes_on_meanwhile() {
    // The limit of a login is that of its cluster.
    let stack = Stack::builder().own_cluster().listening().start().await.unwrap();
    let ports = [(); 3].map(|()| Port::reserve().unwrap());
    let other = replica(&stack.data, &ports).await;
    for service in [&stack.data, &other] {
        listens(service, true).await;
    }
    assert_eq!(scalar::<i64>(&stack.database, LISTENERS).await, 2);
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let worker = client_at(&stack, &other, "worker");

    // No connection is let in, and those that are there end.
    execute(&stack.database, "ALTER ROLE data_worker CONNECTION LIMIT 0").await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'data_worker'
        AND datname = current_database() AND query ~ 'LISTEN|NOTIFY|current_database'";
    execute(&stack.database, end).await;
    for service in [&stack.data, &other] {
        listens(service, false).await;
    }
    let polled = picked_up_after(&ada, &worker).await;
    assert!(polled < Duration::from_secs(5), "{polled:?}");

    execute(&stack.database, "ALTER ROLE data_worker CONNECTION LIMIT 40").await;
    for service in [&stack.data, &other] {
        listens(service, true).await;
    }
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(picked_up_after(&ada, &worker).await);
    }
    times.sort_unstable();
    assert!(times[times.len() / 2] < SOON, "{times:?}");
    // Each change is logged once, whatever the number of attempts.
    for service in [&stack.data, &other] {
        let log = service.output().unwrap();
        for (line, expected) in [("are not heard", 1), ("other replicas are heard", 2)] {
            assert_eq!(log.matches(line).count(), expected, "{line}: {log}");
        }
    }
}

#[tokio::test]
async fn a_service_without_an_address_to_listen_at_has_no_metric_of_it() {
    let stack = Stack::shared().await.unwrap();
    let metrics = Metrics::read(stack.data.listeners.metrics).await;
    assert_eq!(metrics.sum("haven_db_listening", &[]), None);
}
