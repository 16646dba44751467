//! Services that stop and start behind the same pooler.

use haven_testkit::Stack;

use super::{POOL_SIZE, package};

/// The connections of the pooler, with what an earlier process left in them, are those of the next process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_starts_again_and_again_behind_the_same_pooler() {
    let Some(package) = package() else { return };
    let mut stack = Stack::builder().pooled(package, POOL_SIZE).start().await.unwrap();
    for _ in 0..20 {
        for service in [&mut stack.identity, &mut stack.data] {
            assert!(service.stop(), "{} did not stop", service.name);
            service.launch().unwrap();
        }
        stack.identity.ready().await.unwrap();
        stack.data.ready().await.unwrap();
        stack.person().await.unwrap();
    }
    for service in [&stack.identity, &stack.data] {
        let log = service.output().unwrap();
        let failed = log
            .lines()
            .find(|line| line.contains("sqlstate") || line.contains("\"not ready\""));
        assert_eq!(failed, None, "in the log of {}", service.name);
    }
}
