//! Many callers through a pooler with fewer connections than callers.

use std::{env, fs, time::Duration};

use haven_testkit::Stack;

use super::{POOL_SIZE, package};
use crate::{
    superuser_sql::scalar,
    workload::{Size, Workload, report::Report},
};

/// The callers.
const CALLERS: Size = Size {
    people: 32,
    workers: 2,
};

/// The variable for the number of acknowledged mutations of `no_answer_is_wrong_and_no_error_remains`.
const OPERATIONS: &str = "HAVEN_OPERATIONS";

/// The time that a mutation may take on average, and the time that all may take besides, on a machine that is busy with
/// other tests.
const EACH: Duration = Duration::from_millis(100);
const ALL: Duration = Duration::from_secs(120);

/// Lets all callers call until `operations` mutations are acknowledged, and asserts that everything is stored as it was
/// acknowledged, and that no call failed. Awaits `at_half` when half of them are.
pub(super) async fn operate(stack: &Stack, operations: usize, at_half: impl Future<Output = ()>) -> Report {
    let limit = ALL + EACH * u32::try_from(operations).unwrap();
    let workload = Workload::start(&stack.endpoints(), &stack.database, CALLERS);
    workload.acknowledges(operations / 2, limit).await;
    at_half.await;
    workload.acknowledges(operations / 2, limit).await;
    let journal = workload.stop().await;
    let report = journal.verify(&stack.endpoints(), &stack.database, None).await;
    report.assert_sound();
    report.assert_no_failure();
    report
}

/// The variable HAVEN_OPERATIONS sets another number of operations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_wrong_and_no_error_remains() {
    let Some(package) = package() else { return };
    let operations = env::var(OPERATIONS).map_or(1_000, |number| number.parse().unwrap());
    let stack = Stack::builder()
        .pooled(package, POOL_SIZE)
        .variable("identity", "DATABASE_POOL_SIZE", "16")
        .variable("data", "DATABASE_POOL_SIZE", "16")
        .start()
        .await
        .unwrap();
    let report = operate(&stack, operations, async {
        // The callers share the few connections of the pooler, and reach Postgres in no other way.
        let connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'data_app'";
        let connections: i64 = scalar(&stack.database, connections).await;
        assert!((1..=i64::from(POOL_SIZE)).contains(&connections), "{connections}");
    })
    .await;
    eprintln!("{CALLERS:?}: {report}");
    for service in [&stack.identity, &stack.data] {
        let log = service.output().unwrap();
        for sqlstate in ["42P05", "26000", "08P01"] {
            assert!(
                !log.contains(&format!("sqlstate={sqlstate}")),
                "{sqlstate} in the log of {}",
                service.name
            );
        }
    }
    let log = fs::read_to_string(stack.pooler.as_ref().unwrap().log()).unwrap();
    assert!(!log.contains("prepared statement"), "{log}");
}

/// A restart of the pooler breaks all connections, and the transactions on them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_pooler_loses_nothing_that_was_acknowledged() {
    let Some(package) = package() else { return };
    let mut stack = Stack::builder().pooled(package, POOL_SIZE).start().await.unwrap();
    let mut pooler = stack.pooler.take().unwrap();
    let report = operate(&stack, 600, async {
        pooler.stop();
        tokio::time::sleep(Duration::from_millis(300)).await;
        pooler.resume().unwrap();
    })
    .await;
    assert!(report.retried > 0, "the restart broke no call: {report}");
}
