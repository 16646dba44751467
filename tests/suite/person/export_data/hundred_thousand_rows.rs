//! A person with more than a hundred thousand rows: the memory for exporting and erasing them does not grow with their
//! number.

use std::{fs, time::Instant};

use haven_data::domain::{key_ring::KeyRing, message};
use haven_platform::{call::UserId, config::keyed_secrets, time::Clock};
use haven_proto::{
    data::v1::{CryptoEnvelope, ExportDataResponse},
    identity::v1::DeletionState,
};
use haven_testkit::{Person, Stack, random, service::Service};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{counted, export, exported};
use crate::{
    account::deletion::{
        delete, deletion_by, done,
        rows::{owned, receipt, traces},
    },
    crisis_message::saying,
    test_device::Device,
};

/// The number of messages.
const MESSAGES: i64 = 60_000;

/// The number of records, each with a used nonce.
const RECORDS: i64 = 40_000;

/// The permitted growth of the service's memory: less than half of the size of the export.
const GROWTH_KIB: u64 = 16 * 1024;

#[tokio::test]
async fn a_hundred_thousand_rows_are_exported_and_erased_in_little_memory() {
    let stack = Stack::start().await.unwrap();
    let ada = Device::invent(&stack).await.unwrap();
    messages(&stack, &ada.person, MESSAGES).await;
    records(&stack, &ada, RECORDS).await;
    // The service itself creates a message and a record after the inserted ones.
    let request = saying("the last one");
    let appended = ada.client.conversation().append_message(request).await;
    let last = appended.unwrap().into_inner().message.unwrap();
    assert_eq!(last.number, MESSAGES + 1);
    let create = ada.create(random::uuid(), "the last record").unwrap();
    ada.client.cycle().create_record(create).await.unwrap();

    let before = reset_peak(&stack.data);
    let began = Instant::now();
    let export = export(&ada.client).await.unwrap();
    let took = began.elapsed();
    let grown = peak(&stack.data).saturating_sub(before);
    eprintln!("exported in {took:?}: {grown} KiB more");
    assert!(grown < GROWTH_KIB, "{grown} KiB more during the export");
    assert_complete(&stack, &ada, &export).await;
    let rows: i64 = counted(&export).values().sum();
    assert!(rows >= 100_000, "{rows} rows");
    drop(export);

    let mut expected = owned(&stack, &ada.person).await;
    // Including the used nonces of the records.
    let rows: i64 = expected.values().sum();
    assert!(rows >= 140_000, "{rows} rows");
    let before = reset_peak(&stack.data);
    let began = Instant::now();
    let client = stack.user(&ada.person).unwrap();
    delete(&client, &deletion_by(&ada.person)).await.unwrap();
    let deletion = done(&stack, &ada.person).await;
    let took = began.elapsed();
    let grown = peak(&stack.data).saturating_sub(before);
    eprintln!("erased in {took:?}: {grown} KiB more");
    assert!(grown < GROWTH_KIB, "{grown} KiB more during the erasure");
    assert_eq!(deletion.state(), DeletionState::Done);
    expected.retain(|table, _| {
        table.starts_with("data.") && !["data.erasures", "data.tombstones"].contains(&table.as_str())
    });
    let mut erased = receipt(&deletion);
    erased.retain(|table, _| table.starts_with("data."));
    assert_eq!(erased, expected);
    let left = traces(&stack, &ada.person).await;
    assert_eq!(left, ["data.tombstones", "identity.erasures"]);
}

/// Asserts that the export has every row, in order, and that every row opens.
async fn assert_complete(stack: &Stack, device: &Device, export: &ExportDataResponse) {
    let manifest = export.manifest.as_ref().unwrap();
    assert_eq!(exported(manifest), counted(export));
    for (table, rows) in owned(stack, &device.person).await {
        if let Some(exported) = exported(manifest).get(&table) {
            assert_eq!(*exported, rows, "{table}");
        }
    }
    let (last, messages) = export.messages.split_last().unwrap();
    assert_eq!(last.text, "the last one");
    for (message, number) in messages.iter().zip(1..) {
        assert_eq!((message.number, &message.text), (number, &text(number)));
    }
    assert!(
        export
            .records
            .is_sorted_by(|one, next| one.record_id < next.record_id)
    );
    for record in &export.records {
        let content = device.open(record).unwrap();
        let expected = content == "the last record" || content == text(record.change_number);
        assert!(expected, "{}", record.change_number);
    }
}

/// Returns the text of the message or the record with this number: about half a kilobyte.
pub(super) fn text(number: i64) -> String {
    format!("this is text number {number}, ").repeat(16)
}

/// Inserts messages into a new conversation of `person`, sealed as the service seals them.
pub(crate) async fn messages(stack: &Stack, person: &Person, count: i64) {
    let keys = stack.data.variables["MESSAGE_KEYS"].clone();
    let ring = KeyRing::new(&keyed_secrets(&keys.into()).unwrap()).unwrap();
    let mut superuser = superuser(stack).await;
    let counter = "INSERT INTO data.conversation_counters (user_id, last_number) VALUES ($1, $2)";
    let counter = sqlx::query(counter).bind(person.id).bind(count);
    counter.execute(&mut superuser).await.unwrap();
    let numbers: Vec<_> = (1..=count).collect();
    for numbers in numbers.chunks(5000) {
        let ids: Vec<_> = numbers.iter().map(|_| random::uuid()).collect();
        let tokens = ids.iter().zip(numbers).map(|(id, number)| {
            let cell = message::cell(UserId::new(person.id), *id);
            ring.seal(cell, &text(*number), Clock::system().now()).token
        });
        let tokens: Vec<_> = tokens.collect();
        let storing = sqlx::query(
            "INSERT INTO data.conversations
                (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
            SELECT $1, id, number, 'user', token, $5, now(), now() FROM unnest($2, $3, $4) AS m (id, number, token)",
        );
        let storing = storing.bind(person.id).bind(&ids).bind(numbers).bind(&tokens);
        let storing = storing.bind(ring.sealing_id());
        storing.execute(&mut superuser).await.unwrap();
    }
}

/// Inserts records of the person of `device`, encrypted as devices encrypt them, and their nonces.
pub(crate) async fn records(stack: &Stack, device: &Device, count: i64) {
    let mut superuser = superuser(stack).await;
    let numbers: Vec<_> = (1..=count).collect();
    for numbers in numbers.chunks(5000) {
        let (mut ids, mut payloads, mut nonces) = (Vec::new(), Vec::new(), Vec::new());
        let mut envelope = CryptoEnvelope::default();
        for number in numbers {
            let id = random::uuid();
            let (payload, sealed) = device.seal(&text(*number), id, 1).unwrap();
            ids.push(id);
            payloads.push(payload);
            nonces.push(sealed.nonce.clone());
            envelope = sealed;
        }
        store(
            &mut superuser,
            device,
            (&ids, numbers, &payloads, &nonces),
            &envelope,
        )
        .await;
    }
    let counter = "UPDATE data.change_counters SET last_number = $2 WHERE user_id = $1";
    let counter = sqlx::query(counter).bind(device.person.id).bind(count);
    counter.execute(&mut superuser).await.unwrap();
}

/// The columns of some records: ids, change numbers, payloads and nonces.
type Columns<'a> = (&'a [Uuid], &'a [i64], &'a [Vec<u8>], &'a [Vec<u8>]);

/// Inserts one batch of records and their nonces.
async fn store(
    superuser: &mut PgConnection,
    device: &Device,
    columns: Columns<'_>,
    envelope: &CryptoEnvelope,
) {
    let (ids, numbers, payloads, nonces) = columns;
    let derivation = envelope.key_derivation.unwrap();
    let storing = sqlx::query(
        "WITH nonces AS (
            INSERT INTO data.envelope_nonces (user_id, key_id, key_version, nonce, content_digest, outcome, version,
                change_number, used_at)
            SELECT $1, $2, $3, nonce, sha256(nonce), 'applied', 1, number, now() FROM unnest($5, $7) AS n (number, nonce)
        )
        INSERT INTO data.encrypted_cycle_data (user_id, id, encrypted_payload, envelope_version, algorithm, key_id,
            key_version, nonce, salt, kdf_memory_kib, kdf_iterations, kdf_parallelism, associated_data_version, version,
            device_id, local_timestamp, change_number, created_at, updated_at)
        SELECT $1, id, payload, 1, 'xchacha20_poly1305', $2, $3, nonce, $8, $9, $10, $11, 1, 1, $2, now(), number, now(), now()
        FROM unnest($4, $5, $6, $7) AS r (id, number, payload, nonce)",
    );
    let storing = storing
        .bind(device.person.id)
        .bind(device.id)
        .bind(device.key_version);
    let storing = storing
        .bind(ids)
        .bind(numbers)
        .bind(payloads)
        .bind(nonces)
        .bind(&envelope.salt);
    let storing = storing
        .bind(derivation.memory_kib)
        .bind(derivation.iterations)
        .bind(derivation.parallelism);
    storing.execute(superuser).await.unwrap();
}

async fn superuser(stack: &Stack) -> PgConnection {
    stack.database.connect("postgres").await.unwrap()
}

/// Resets the peak of the service's memory. Returns its current size in KiB.
pub(crate) fn reset_peak(service: &Service) -> u64 {
    // "5" resets the peak to the current size: see proc_pid_clear_refs(5).
    let pid = service.pid().unwrap();
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    peak(service)
}

/// Returns the peak of the service's memory since it was reset, in KiB.
pub(crate) fn peak(service: &Service) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", service.pid().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse().unwrap()
}
