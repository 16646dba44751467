//! The workload itself: it calls every mutation, and its verification finds each kind of defect.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use haven_testkit::Stack;
use prost_reflect::DescriptorPool;

use super::{Size, Workload, orphans::find_orphans};
use crate::superuser_sql::execute;

/// The mutations that have no request id. A refresh token identifies its own use.
const WITHOUT_REQUEST_ID: [&str; 1] = ["RefreshSession"];

/// The mutations that only `identity reconcile` calls, and that `reconcile/` tests: a person who is locked makes no other call.
const OF_RECONCILIATION: [&str; 1] = ["LockUser"];

/// The time that a workload gets to call everything on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);

/// Makes the newest message of someone another person's.
const MOVE_MESSAGE: &str = "
    UPDATE data.conversations AS message
    SET number = 1000000,
        user_id = (SELECT user_id FROM data.conversation_counters WHERE user_id <> message.user_id LIMIT 1)
    WHERE (user_id, number) = (SELECT user_id, number FROM data.conversations ORDER BY created_at DESC LIMIT 1)";

/// Loses a message, applies an update of an account a second time, and loses a request.
const LOSE_AND_DOUBLE: &str = "
    DELETE FROM data.conversations
    WHERE (user_id, id) = (SELECT user_id, id FROM data.conversations ORDER BY created_at LIMIT 1);
    UPDATE identity.users SET version = version + 1 WHERE id = (SELECT id FROM identity.users LIMIT 1);
    DELETE FROM data.requests
    WHERE (user_id, id) = (SELECT user_id, id FROM data.requests WHERE method = 'RegisterDevice' LIMIT 1)";

/// Loses a person in data, and an account in identity.
const MAKE_ORPHANS: &str = "
    DELETE FROM data.users WHERE id = (SELECT min(id::text)::uuid FROM identity.users);
    DELETE FROM identity.users WHERE id = (SELECT max(id::text)::uuid FROM identity.users)";

/// Returns the RPCs of the descriptors that change something under a request id.
fn mutations() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services: Vec<_> = pool.services().collect();
    let rpcs = services.iter().flat_map(|service| service.methods());
    let with_id = rpcs.filter(|rpc| rpc.input().get_field_by_name("request_id").is_some());
    let with_id = with_id.map(|rpc| rpc.name().to_owned());
    let called = with_id.filter(|name| !OF_RECONCILIATION.contains(&name.as_str()));
    called.chain(WITHOUT_REQUEST_ID.map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mutation_is_called_and_acknowledged_and_everything_is_stored() {
    let stack = Stack::start().await.unwrap();
    let workload = Workload::start(&stack.endpoints(), &stack.database, Size::SMALL);
    let missing = || {
        let calls = workload.journal.calls();
        let acknowledged = calls.iter().filter(|call| call.acknowledged().is_some());
        let called: BTreeSet<_> = acknowledged.map(|call| call.rpc.to_owned()).collect();
        mutations().difference(&called).cloned().collect::<Vec<_>>()
    };
    let end = SystemTime::now() + LIMIT;
    while !missing().is_empty() && SystemTime::now() < end {
        workload.acknowledges(50, LIMIT).await;
    }
    let missing = missing();
    let journal = workload.stop().await;
    for _ in 0..2 {
        // A verification does not disturb the next one.
        let report = journal.verify(&stack.endpoints(), &stack.database, None).await;
        eprintln!("{report}");
        report.assert_sound();
        report.assert_no_failure();
    }
    assert_eq!(missing, Vec::<String>::new(), "no call was acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_lost_or_doubled_rows_is_found() {
    let stack = Stack::start().await.unwrap();
    let workload = Workload::start(&stack.endpoints(), &stack.database, Size::SMALL);
    workload.acknowledges(300, LIMIT).await;
    let journal = workload.stop().await;
    execute(&stack.database, LOSE_AND_DOUBLE).await;
    let report = journal.verify(&stack.endpoints(), &stack.database, None).await;
    let [lost, doubled, foreign] = [
        &report.findings.lost,
        &report.findings.doubled,
        &report.findings.foreign,
    ]
    .map(Vec::len);
    assert_eq!((lost, doubled, foreign), (2, 1, 0), "{report}");

    execute(&stack.database, MOVE_MESSAGE).await;
    let report = journal.verify(&stack.endpoints(), &stack.database, None).await;
    let [lost, doubled, foreign] = [
        &report.findings.lost,
        &report.findings.doubled,
        &report.findings.foreign,
    ]
    .map(Vec::len);
    assert_eq!((lost, doubled, foreign), (3, 1, 1), "{report}");

    assert_eq!(
        find_orphans(&stack.database, Duration::ZERO).await,
        Vec::<String>::new()
    );
    execute(&stack.database, MAKE_ORPHANS).await;
    let orphans = find_orphans(&stack.database, Duration::ZERO).await;
    assert_eq!(orphans.len(), 2, "{orphans:?}");
}
