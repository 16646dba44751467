//! The leader of three nodes of Postgres is lost, in each way, while people call both services.

use haven_testkit::{
    Stack,
    failover::{Failover, Fault},
    package::Package,
};

use crate::packages;

/// Returns the packages of the rig. `None` where they cannot be had: the test is then skipped.
fn package() -> Option<Package> {
    packages::or_skip(
        &["patroni", "etcd-server", "haproxy", "postgresql-15-pgaudit"],
        Failover::packages(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn smoke() {
    let Some(package) = package() else { return };
    let rig = Failover::start(package).await.unwrap();
    let stack = Stack::builder().failover(rig).start().await.unwrap();
    let rig = stack.failover().unwrap();
    for fault in [Fault::Switchover, Fault::Kill] {
        let leader = rig.complete().await.unwrap();
        eprintln!("leader {leader}");
        let begun = std::time::Instant::now();
        rig.cause(fault, leader).await.unwrap();
        crate::retry::retry(async || {
            let anonymous = stack.anonymous().unwrap();
            anonymous.invent().await.map_err(|error| {
                eprintln!("{:.1?} {error:#}", begun.elapsed());
                tonic::Status::unavailable("x")
            })
        })
        .await
        .unwrap();
        eprintln!("{fault:?} {:?}", begun.elapsed());
        rig.mend(fault, leader).await.unwrap();
        rig.complete().await.unwrap();
        eprintln!("{fault:?} complete {:?}", begun.elapsed());
    }
}
