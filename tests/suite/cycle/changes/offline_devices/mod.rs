//! Property test: devices that go offline and act in any order. No change is lost or applied twice, every change that
//! lost is kept as a conflict, and once all conflicts are settled every device has the same records.

mod ledger;
mod pulling;
mod settling;
mod simulated_device;

use std::collections::HashMap;

use haven_testkit::{Stack, random};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Runtime;
use uuid::Uuid;

use self::{
    ledger::{Ledger, RecordState},
    simulated_device::Simulated,
};
use crate::{superuser_sql::execute, test_device::Device};

/// Number of records that the devices share.
const RECORDS: usize = 2;

/// Number of pushes, more than it takes to send and settle everything.
const MAX_PUSHES: usize = 10;

/// A step of a device, which does nothing where it is not possible.
#[derive(Clone, Debug)]
enum Step {
    /// The device writes a record, offline.
    Put(usize, usize),
    /// The device deletes a record, offline.
    Delete(usize, usize),
    /// The device pushes its changes.
    Push(usize, Push),
    /// Two devices push at the same time.
    Race([(usize, Push); 2]),
    /// The device pulls the changes of others.
    Pull(usize),
    /// The device acknowledges the pulled changes.
    Acknowledge(usize),
    /// The device settles some of the conflicts of a record that it knows.
    Settle(usize, usize, Settle),
    /// The device's key is rotated.
    Rotate(usize),
    /// The device is suspended, until its key is rotated.
    Suspend(usize),
    /// 180 days pass, and old tombstones and settled conflicts are purged, whether or not every device pulled them.
    Sweep,
}

/// Options of a push.
#[derive(Clone, Copy, Debug)]
struct Push {
    /// Pushes in the mode ATOMIC.
    atomic: bool,
    /// Repeats the unanswered request. Otherwise pushes all changes under a new request id.
    repeat: bool,
    /// The answer reaches the device.
    answered: bool,
}

/// Options of a resolution.
#[derive(Clone, Copy, Debug)]
struct Settle {
    /// The conflicts to settle, as a bit mask.
    mask: u8,
    /// The effect on the record.
    resolution: Resolution,
    /// The answer reaches the device.
    answered: bool,
}

/// The resolution of conflicts.
#[derive(Clone, Copy, Debug)]
enum Resolution {
    Keep,
    Replace,
    Delete,
}

/// Generates options of a push.
fn push() -> impl Strategy<Value = Push> {
    let (atomic, answered) = (prop::bool::weighted(0.2), prop::bool::weighted(0.7));
    (atomic, any::<bool>(), answered).prop_map(|(atomic, repeat, answered)| Push {
        atomic,
        repeat,
        answered,
    })
}

/// Generates options of a resolution.
fn settle() -> impl Strategy<Value = Settle> {
    let resolution = prop_oneof![
        Just(Resolution::Keep),
        Just(Resolution::Replace),
        Just(Resolution::Delete)
    ];
    let answered = prop::bool::weighted(0.7);
    (any::<u8>(), resolution, answered).prop_map(|(mask, resolution, answered)| Settle {
        mask,
        resolution,
        answered,
    })
}

/// Generates a step. Steps that make conflicts are more frequent than rotations, suspensions and sweeps.
fn step() -> impl Strategy<Value = Step> {
    let (device, record) = (0..3_usize, 0..RECORDS);
    prop_oneof![
        6 => (device.clone(), record.clone()).prop_map(|(device, record)| Step::Put(device, record)),
        4 => (device.clone(), record.clone()).prop_map(|(device, record)| Step::Delete(device, record)),
        4 => (device.clone(), push()).prop_map(|(device, push)| Step::Push(device, push)),
        2 => ((device.clone(), push()), (device.clone(), push())).prop_map(|(a, b)| Step::Race([a, b])),
        6 => device.clone().prop_map(Step::Pull),
        8 => (device.clone(), record, settle())
            .prop_map(|(device, record, settle)| Step::Settle(device, record, settle)),
        6 => device.clone().prop_map(Step::Acknowledge),
        2 => Just(Step::Sweep),
        3 => device.clone().prop_map(Step::Rotate),
        1 => device.prop_map(Step::Suspend),
    ]
}

#[test]
fn no_change_is_lost_and_all_devices_converge() {
    let runtime = Runtime::new().unwrap();
    let stack = runtime.block_on(Stack::start()).unwrap();
    let mut runner = TestRunner::new(Config {
        cases: 24,
        // Each case is a person with devices, which takes time: 40 are enough to see the failing steps.
        max_shrink_iters: 40,
        failure_persistence: None,
        ..Config::default()
    });
    let played = runner.run(
        &(2..=3_usize, prop::collection::vec(step(), 30..80)),
        |(device_count, steps)| {
            runtime.block_on(run_case(&stack, device_count, &steps));
            Ok(())
        },
    );
    // The error shows the steps, so that they can be repeated.
    played.unwrap_or_else(|error| panic!("{error:#?}"));
}

/// Runs `steps` on the devices of one person, and checks the results.
async fn run_case(stack: &Stack, device_count: usize, steps: &[Step]) {
    let first = Device::invent(stack).await.unwrap();
    let mut devices = Vec::new();
    for _ in 1..device_count {
        devices.push(Simulated::new(first.another().await.unwrap()));
    }
    devices.push(Simulated::new(first.clone()));
    let mut records: Vec<_> = (0..RECORDS).map(|_| random::uuid()).collect();
    let mut ledger = Ledger::default();
    for step in steps {
        run_step(step, &mut devices, &records, &mut ledger).await;
        if let Step::Sweep = step {
            sweep(stack, first.person.id).await;
        }
        // A device that is told that a record is purged uses a new record instead.
        for record in records.iter_mut().filter(|record| ledger.is_purged(**record)) {
            *record = random::uuid();
        }
    }
    // All devices come online and send everything.
    for device in &mut devices {
        device.flush(&mut ledger).await;
    }
    for device in &mut devices {
        device.pull().await;
    }
    let held = ledger.replayed();
    for device in &devices {
        assert_knows(device, &held, "a device differs from the model");
    }
    // The first device settles the conflicts that are left.
    for record in ledger.records() {
        devices[0].settle_all(record, &mut ledger).await;
    }
    for device in &mut devices {
        device.pull().await;
    }
    let held = ledger.replayed();
    assert!(
        held.values().all(|record| record.conflicts.is_empty()),
        "a conflict is open"
    );
    for device in &devices {
        assert_knows(device, &held, "a device differs from the model after settling");
    }
    // A new device gets the same.
    let mut new = Simulated::new(first.another().await.unwrap());
    new.pull().await;
    assert_knows(&new, &held, "a new device differs from the model");
}

/// Makes tombstones and settled conflicts of a person older than 180 days, and purges them.
async fn sweep(stack: &Stack, person: Uuid) {
    let sql = format!(
        "UPDATE data.encrypted_cycle_data SET deleted_at = now() - interval '181 days'
         WHERE user_id = '{person}' AND deleted_at IS NOT NULL;
         UPDATE data.cycle_data_conflicts SET settled_at = now() - interval '181 days'
         WHERE user_id = '{person}' AND settled_at IS NOT NULL;
         SET ROLE data_service;
         SELECT set_config('request.jwt.claims', '{{\"sub\":\"{person}\"}}', false);
         SELECT data.purge_changes(1000, true)"
    );
    execute(&stack.database, &sql).await;
}

/// Fails unless `device` has the expected state of every record. It may lack deleted records without open conflicts,
/// because they may be purged.
fn assert_knows(device: &Simulated, held: &HashMap<Uuid, RecordState>, what: &str) {
    let known = device.known();
    for (record, held) in held {
        match known.get(record) {
            None if held.content.is_none() && held.conflicts.is_empty() => {}
            known => assert_eq!(known, Some(held), "{what}: {record}"),
        }
    }
    let made_up = known.keys().find(|record| !held.contains_key(*record));
    assert_eq!(made_up, None, "{what}");
}

/// Runs one step of a test case.
async fn run_step(step: &Step, devices: &mut [Simulated], records: &[Uuid], ledger: &mut Ledger) {
    let device_count = devices.len();
    match step {
        Step::Put(device, record) => devices[device % device_count].put(records[*record], ledger),
        Step::Delete(device, record) => devices[device % device_count].delete(records[*record], ledger),
        Step::Push(device, push) => devices[device % device_count].push(*push, ledger).await,
        Step::Race([(first, push), (second, other_push)]) => {
            let (first, second) = (first % device_count, second % device_count);
            let Ok([one, other]) = devices.get_disjoint_mut([first, second]) else {
                return devices[first].push(*push, ledger).await;
            };
            let (sent, other_sent) = tokio::join!(one.send(*push), other.send(*other_push));
            one.handle_results(sent, *push, ledger).await;
            other.handle_results(other_sent, *other_push, ledger).await;
        }
        Step::Pull(device) => devices[device % device_count].pull().await,
        Step::Acknowledge(device) => devices[device % device_count].acknowledge().await,
        Step::Settle(device, record, settle) => {
            devices[device % device_count]
                .settle(records[*record], *settle, ledger)
                .await;
        }
        Step::Rotate(device) => devices[device % device_count].rotate().await,
        Step::Suspend(device) => devices[device % device_count].suspend().await,
        Step::Sweep => {}
    }
}
