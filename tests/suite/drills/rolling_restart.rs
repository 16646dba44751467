//! Two replicas of each service, restarted one after the other with SIGTERM, under load.

use std::time::SystemTime;

use haven_testkit::{Stack, endpoints::Endpoints, port::Port, service::Service};

use super::{RECOVERY, callers, rounds};
use crate::{replica::replica, workload::Workload};

/// The number of acknowledged calls before each restart.
const CALLS: usize = 60;

async fn second(original: &Service) -> (Service, [Port; 3]) {
    let ports = [(); 3].map(|()| Port::reserve().unwrap());
    (replica(original, &ports).await, ports)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_replicas_restart_one_after_the_other() {
    let stack = &mut Stack::start().await.unwrap();
    let (mut identity, _identity_ports) = second(&stack.identity).await;
    let (mut data, _data_ports) = second(&stack.data).await;
    let endpoints = Endpoints {
        identity: vec![stack.identity.listeners.api, identity.listeners.api],
        data: vec![stack.data.listeners.api, data.listeners.api],
        ..stack.endpoints()
    };
    let workload = Workload::start(&endpoints, &stack.database, callers());
    let begun = SystemTime::now();
    for _ in 0..rounds() {
        for service in [&mut stack.identity, &mut identity, &mut stack.data, &mut data] {
            workload.acknowledges(CALLS, RECOVERY).await;
            assert!(service.stop(), "{} did not drain in time", service.name);
            service.start().await.unwrap();
        }
    }
    workload.acknowledges(CALLS, RECOVERY).await;
    let gap = workload.journal.longest_gap(begun, SystemTime::now());
    let journal = workload.stop().await;
    let report = journal.verify(&endpoints, &stack.database, None).await;
    eprintln!(
        "{} restarts: {report}  longest time without a success: {gap:.1?}",
        4 * rounds()
    );
    report.assert_sound();
    report.assert_no_failure();
}
