//! Many callers through a pooler with fewer connections than callers.

use std::{
    env, fs,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use haven_testkit::Stack;

use super::{
    POOL_SIZE,
    operations::{Caller, Counts},
    package,
};
use crate::superuser_sql::scalar;

/// The number of callers.
const CALLERS: u64 = 32;

/// The variable for the number of operations of `no_answer_is_wrong_and_no_error_remains`.
const OPERATIONS: &str = "HAVEN_OPERATIONS";

/// Makes `operations` operations, by all callers at the same time, and asserts that everything is stored as it was
/// acknowledged. Calls `at_half` when half of them are done.
pub(super) async fn operate(stack: &Stack, operations: u64, at_half: impl Future<Output = ()>) -> Counts {
    let counts = Counts::default();
    let mut callers = join_all((0..CALLERS).map(|_| Caller::new(stack, &counts))).await;
    let begun = AtomicU64::new(0);
    let work = join_all(callers.iter_mut().map(async |caller| {
        while begun.fetch_add(1, Relaxed) < operations {
            caller.operate().await;
        }
    }));
    let half = async {
        while begun.load(Relaxed) < operations / 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        at_half.await;
    };
    tokio::join!(work, half);
    join_all(callers.iter_mut().map(Caller::assert_complete)).await;
    drop(callers);
    counts
}

/// The variable HAVEN_OPERATIONS sets another number of operations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_wrong_and_no_error_remains() {
    let Some(package) = package() else { return };
    let operations = env::var(OPERATIONS).map_or(2_000, |number| number.parse().unwrap());
    let stack = Stack::builder()
        .pooled(package, POOL_SIZE)
        .variable("identity", "DATABASE_POOL_SIZE", "16")
        .variable("data", "DATABASE_POOL_SIZE", "16")
        .start()
        .await
        .unwrap();
    let begun = Instant::now();
    let counts = operate(&stack, operations, async {
        // The callers share the few connections of the pooler, and reach Postgres in no other way.
        let connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND usename = 'data_app'";
        let connections: i64 = scalar(&stack.database, connections).await;
        assert!((1..=i64::from(POOL_SIZE)).contains(&connections), "{connections}");
    })
    .await;
    let time = begun.elapsed();
    eprintln!("{operations} operations of {CALLERS} callers in {time:.1?}: {counts:?}");
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
    let counts = operate(&stack, 600, async {
        pooler.stop();
        tokio::time::sleep(Duration::from_millis(300)).await;
        pooler.resume().unwrap();
    })
    .await;
    assert!(
        counts.retried.load(Relaxed) > 0,
        "the restart broke no call: {counts:?}"
    );
}
