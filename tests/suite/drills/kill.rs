//! `kill -9` of each process under load. The process starts again at once, as Kubernetes restarts a container.

use haven_testkit::{Stack, pgbouncer};

use super::drill;
use crate::packages;

/// The number of PgBouncer's connections to Postgres for each login.
const POOL_SIZE: u32 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_identity_loses_and_doubles_nothing() {
    let mut stack = Stack::start().await.unwrap();
    let report = drill("identity killed", &mut stack, async |stack| {
        stack.identity.kill();
        stack.identity.start().await.unwrap();
    });
    report.await.assert_no_failure();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_data_loses_and_doubles_nothing() {
    let mut stack = Stack::start().await.unwrap();
    let report = drill("data killed", &mut stack, async |stack| {
        stack.data.kill();
        stack.data.start().await.unwrap();
    });
    report.await.assert_no_failure();
}

/// The cluster has `fsync`, as in production.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_postgres_loses_and_doubles_nothing() {
    let mut stack = Stack::builder().durable_cluster().start().await.unwrap();
    let report = drill("Postgres killed", &mut stack, async |stack| {
        let cluster = stack.cluster().unwrap();
        cluster.kill();
        cluster.resume().await.unwrap();
    });
    report.await.assert_no_failure();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_pgbouncer_loses_and_doubles_nothing() {
    let Some(package) = packages::require(&[pgbouncer::PACKAGE]) else {
        return;
    };
    let mut stack = Stack::builder().pooled(package, POOL_SIZE).start().await.unwrap();
    let report = drill("PgBouncer killed", &mut stack, async |stack| {
        let pooler = stack.pooler.as_mut().unwrap();
        pooler.kill();
        pooler.resume().unwrap();
    });
    report.await.assert_no_failure();
}
