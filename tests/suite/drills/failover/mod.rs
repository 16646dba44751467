//! Three nodes of Postgres under Patroni, as `deploy/failover` starts them, behind both services: the leader is lost in each
//! way, and then every standby is away.
//!
//! One test has all phases, because they share the nodes: to start them takes longest.

mod leader;
mod settings;
mod standbys;

use haven_testkit::{
    Stack,
    failover::{Failover, Fault, Programs},
};

use self::leader::Rounds;
use super::{ROUNDS, callers, number};
use crate::{packages, workload::Workload};

/// What the suite does with the leader, once.
const SHORT: &[Fault] = &[Fault::Switchover, Fault::Kill];

/// What happens to the leader when the number of rounds is given.
const ALL: &[Fault] = &[Fault::Switchover, Fault::Kill, Fault::Freeze, Fault::Cut];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_failover_loses_or_doubles_what_was_acknowledged() {
    let named = [
        "patroni",
        "python3-etcd",
        "etcd-server",
        "haproxy",
        "postgresql-15-pgaudit",
    ];
    let Some(programs) = packages::or_skip(&named, Programs::unpack()) else {
        return;
    };
    let rig = Failover::start(programs).await.unwrap();
    let stack = Stack::builder()
        .failover(rig)
        .variable("data", "DATABASE_POOL_SIZE", standbys::POOL_SIZE.to_string())
        .start()
        .await
        .unwrap();
    let rig = stack.failover().unwrap();
    settings::assert_those_of_production(rig).await;

    let (faults, rounds) = match number(ROUNDS) {
        None => (SHORT, 1),
        Some(rounds) => (ALL, rounds),
    };
    let workload = Workload::start(&stack.endpoints(), &stack.database, callers());
    let mut done = Rounds::default();
    for _ in 0..rounds {
        for fault in faults {
            done.add(rig, &workload, *fault).await;
        }
    }
    let journal = workload.stop().await;
    eprintln!("{done}");
    let report = journal.verify(&stack.endpoints(), &stack.database, None).await;
    eprintln!("{report}");
    report.assert_sound();

    standbys::be_away(&stack).await;
}
