//! Writes after a restore. A device that has acknowledged another history than the database's may have seen another
//! content of a version, so it cannot write until it has pulled everything and acknowledged it.

use std::collections::BTreeSet;

use haven_proto::data::v1::{
    ConflictResolution, PushChangesRequest, PushChangesResponse, PushMode, ResolveConflictRequest,
};
use haven_testkit::{Stack, random};
use prost::Message;
use prost_reflect::DescriptorPool;
use tonic::{Status, metadata::MetadataMap};
use uuid::Uuid;

use super::{
    BEGINNING, Watcher, acknowledge, answers, catch_up, contents, create, pull, push, push_request,
    restore::{BEGIN_EPOCH, begin_timeline},
    retry, store_many, update,
};
use crate::{
    encrypted_fixture::EncryptedFixture,
    preferences::put_request,
    raw_call,
    status::{metadata, reason},
    superuser_sql::{execute, scalar},
    test_device::Device,
};

/// RPCs that change a device. They do not depend on the history of changes: a key has versions of its own, and a lost
/// device must be revocable at once.
const DEVICE_RPCS: [&str; 4] = [
    "RegisterDevice",
    "RotateDeviceKey",
    "SuspendDevice",
    "RevokeDevice",
];

/// A digest of all rows that writes change.
const STATE_DIGEST: &str = "
    SELECT encode(sha256(convert_to(string_agg(line, '|' ORDER BY line), 'UTF8')), 'hex') FROM (
        SELECT t::text FROM data.encrypted_cycle_data AS t
        UNION ALL SELECT t::text FROM data.cycle_data_conflicts AS t
        UNION ALL SELECT t::text FROM data.encrypted_user_prefs AS t
        UNION ALL SELECT t::text FROM data.envelope_nonces AS t
        UNION ALL SELECT t::text FROM data.change_counters AS t
        UNION ALL SELECT t::text FROM data.requests AS t) AS lines (line)";

/// The path of an RPC, and the encoded request.
type Call = (String, Vec<u8>);

/// Returns the RPCs by which a device changes data of its person, from the descriptors, so that a new RPC is included.
fn write_rpcs() -> BTreeSet<String> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services: Vec<_> = pool.services().collect();
    let rpcs = services.iter().flat_map(|service| service.methods());
    let rpcs = rpcs.filter(|rpc| {
        let input = rpc.input();
        let has = |field| input.get_field_by_name(field).is_some();
        has("device_id") && has("request_id") && !DEVICE_RPCS.contains(&rpc.name())
    });
    rpcs.map(|rpc| format!("{}/{}", rpc.parent_service().full_name(), rpc.name()))
        .collect()
}

/// Returns a valid call of each of these RPCs by the device of `fixture`. ResolveConflict uses `resolution`.
fn valid_calls(fixture: &EncryptedFixture, resolution: ConflictResolution) -> Vec<Call> {
    let plaintext = |_: &str| format!("something, {}", random::uuid());
    let mut calls = Vec::new();
    for rpc in write_rpcs() {
        let body = fixture.request(&rpc, &plaintext);
        let mut body = body.unwrap_or_else(|| panic!("add a request of {rpc} to `EncryptedFixture`"));
        if rpc.ends_with("/ResolveConflict") && resolution != ConflictResolution::Replace {
            let request = ResolveConflictRequest::decode(&body[..]).unwrap();
            let request = ResolveConflictRequest {
                resolution: resolution.into(),
                encrypted_payload: Vec::new(),
                crypto_envelope: None,
                local_time: None,
                ..request
            };
            body = request.encode_to_vec();
        }
        if rpc.ends_with("/PushChanges") {
            let request = PushChangesRequest {
                changes: vec![fixture.device.put(random::uuid(), 0, "all or none").unwrap()],
                mode: PushMode::Atomic.into(),
                request_id: random::uuid().to_string(),
                ..PushChangesRequest::decode(&body[..]).unwrap()
            };
            calls.push((rpc.clone(), request.encode_to_vec()));
        }
        calls.push((rpc, body));
    }
    calls
}

/// Sends a call as `device`, and returns the encoded answer.
async fn send(device: &Device, (rpc, body): &Call) -> Result<Vec<u8>, Status> {
    let path = format!("/{rpc}");
    let answer = retry(async || {
        let connection = device.client.connection("data");
        raw_call::call(connection, &path, MetadataMap::new(), body.clone()).await
    });
    Ok(answer.await?.into_inner())
}

/// Fails unless a call was refused because the database was restored.
fn assert_restored(status: &Status, what: &str) {
    assert_eq!(reason(status), "CURSOR_EXPIRED", "{what}");
    assert_eq!(metadata(status, "cause"), "RESTORED", "{what}");
}

/// Returns a new person with client-encrypted data.
async fn fixture(stack: &Stack) -> EncryptedFixture {
    let person = stack.anonymous().unwrap().invent().await.unwrap();
    let plaintext = |_: &str| format!("something, {}", random::uuid());
    EncryptedFixture::of(stack, person, &plaintext).await
}

/// Runs `restore`, and makes every write before it, after it, and after a new pull and acknowledgement.
async fn try_every_write(stack: &mut Stack, restore: impl AsyncFnOnce(&mut Stack)) {
    let before = fixture(stack).await;
    let mut answered = Vec::new();
    for call in valid_calls(&before, ConflictResolution::Replace) {
        let answer = send(&before.device, &call).await.unwrap();
        answered.push((call, answer));
    }
    let mut late = Vec::new();
    for resolution in [
        ConflictResolution::Replace,
        ConflictResolution::Keep,
        ConflictResolution::Delete,
    ] {
        let fixture = fixture(stack).await;
        let calls = valid_calls(&fixture, resolution);
        late.push((fixture, calls));
    }
    restore(stack).await;

    let state: String = scalar(&stack.database, STATE_DIGEST).await;
    for (fixture, calls) in &late {
        for call in calls {
            assert_restored(&send(&fixture.device, call).await.unwrap_err(), &call.0);
        }
    }
    // Retries of earlier calls get their first answers: nothing is applied again.
    for (call, answer) in &answered {
        assert_eq!(&send(&before.device, call).await.unwrap(), answer, "{}", call.0);
    }
    assert_eq!(scalar::<String>(&stack.database, STATE_DIGEST).await, state);
    // A new device has seen nothing of the old history.
    let new = before.device.another().await.unwrap();
    create(&new, "by a new device").await;
    for (fixture, calls) in &late {
        // A pull is not enough: the service does not know that it was received.
        let (_, cursor) = pull(&fixture.device, BEGINNING).await.unwrap();
        assert_restored(&send(&fixture.device, &calls[0]).await.unwrap_err(), "pulled");
        acknowledge(&fixture.device, &cursor).await.unwrap();
        for call in calls {
            let answer = send(&fixture.device, call).await;
            let answer = answer.unwrap_or_else(|status| panic!("{}: {status}", call.0));
            if call.0.ends_with("/PushChanges") {
                let pushed = PushChangesResponse::decode(&answer[..]).unwrap();
                assert_eq!(pushed.results[0].version, 1);
            }
        }
    }
}

#[test]
fn the_rpcs_by_which_devices_change_data_are_known() {
    let names = write_rpcs();
    let names: Vec<_> = names.iter().filter_map(|rpc| rpc.rsplit('/').next()).collect();
    let expected = [
        "CreateRecord",
        "DeleteRecord",
        "PushChanges",
        "ResolveConflict",
        "UpdateRecord",
        "PutPreferences",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_device_from_before_an_epoch_cannot_write() {
    let mut stack = Stack::start().await.unwrap();
    try_every_write(&mut stack, async |stack| {
        execute(&stack.database, BEGIN_EPOCH).await
    })
    .await;
}

#[tokio::test]
async fn a_device_from_before_a_timeline_cannot_write() {
    let mut stack = Stack::builder().own_cluster().start().await.unwrap();
    try_every_write(&mut stack, begin_timeline).await;
}

/// A device that acknowledged the first parts of a pull only would make changes over versions that it has not seen.
#[tokio::test]
async fn an_acknowledgement_before_the_end_of_the_pull_does_not_let_a_device_write() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    store_many(&stack, &phone, 1750, 1).await;
    catch_up(&phone, BEGINNING).await;
    execute(&stack.database, BEGIN_EPOCH).await;
    let write = async || {
        let change = phone.put(random::uuid(), 0, "a change").unwrap();
        push(&phone, vec![change]).await
    };

    let parts = answers(&phone, BEGINNING).await.unwrap();
    assert_eq!(parts.len(), 4);
    for (part, number) in parts[..3].iter().zip([500, 1000, 1500]) {
        // The acknowledgement counts, because the device has read this much.
        let answer = acknowledge(&phone, &part.cursor).await.unwrap();
        assert!(answer.acknowledged_change_number >= number);
        assert_restored(&write().await.unwrap_err(), "acknowledged a part");
    }
    // A device that wrote meanwhile moves the end of the next pull, and not of this one.
    let laptop = phone.another().await.unwrap();
    create(&laptop, "meanwhile").await;
    // Nor does a pull that continues a broken one let it write before its end, which is that of the second pull.
    let rest = answers(&phone, &parts[1].cursor).await.unwrap();
    assert_eq!(rest.len(), 2);
    acknowledge(&phone, &rest[0].cursor).await.unwrap();
    assert_restored(&write().await.unwrap_err(), "continued a pull");

    acknowledge(&phone, &parts[3].cursor).await.unwrap();
    write().await.unwrap();
    // The end of a pull that was continued is an end as well.
    execute(&stack.database, BEGIN_EPOCH).await;
    let parts = answers(&phone, BEGINNING).await.unwrap();
    let rest = answers(&phone, &parts[1].cursor).await.unwrap();
    assert_restored(&write().await.unwrap_err(), "pulled");
    acknowledge(&phone, &rest.last().unwrap().cursor).await.unwrap();
    write().await.unwrap();
    // An earlier cursor of this history takes nothing back.
    acknowledge(&phone, &parts[0].cursor).await.unwrap();
    write().await.unwrap();
}

/// A watch from the start reads as a pull does, and then goes on.
#[tokio::test]
async fn a_watch_lets_a_device_write_when_it_has_read_everything() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    store_many(&stack, &phone, 750, 1).await;
    execute(&stack.database, BEGIN_EPOCH).await;
    let write = async || {
        let change = phone.put(random::uuid(), 0, "a change").unwrap();
        push(&phone, vec![change]).await
    };
    let mut watcher = Watcher::start(&phone, BEGINNING).await.unwrap();
    let (_, first) = watcher.next().await.unwrap();
    acknowledge(&phone, &first).await.unwrap();
    assert_restored(&write().await.unwrap_err(), "watched a part");
    let (_, all) = watcher.next().await.unwrap();
    acknowledge(&phone, &all).await.unwrap();
    write().await.unwrap();
}

/// SQL that keeps the state to which `RESTORE_STATE` goes back.
const SAVE_STATE: &str = "
    CREATE TABLE public.records AS SELECT * FROM data.encrypted_cycle_data;
    CREATE TABLE public.prefs AS SELECT * FROM data.encrypted_user_prefs;
    CREATE TABLE public.nonces AS SELECT * FROM data.envelope_nonces;
    CREATE TABLE public.requests AS SELECT * FROM data.requests;
    CREATE TABLE public.counters AS SELECT * FROM data.change_counters";
/// SQL that restores the state kept by `SAVE_STATE`.
const RESTORE_STATE: &str = "
    DELETE FROM data.encrypted_cycle_data; INSERT INTO data.encrypted_cycle_data SELECT * FROM public.records;
    DELETE FROM data.encrypted_user_prefs; INSERT INTO data.encrypted_user_prefs SELECT * FROM public.prefs;
    DELETE FROM data.envelope_nonces; INSERT INTO data.envelope_nonces SELECT * FROM public.nonces;
    DELETE FROM data.requests; INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at, by_service)
        SELECT user_id, id, method, payload_mac, answer, created_at, by_service FROM public.requests;
    DELETE FROM data.change_counters; INSERT INTO data.change_counters SELECT * FROM public.counters;
    UPDATE data.device_key AS d SET acknowledged_number = least(d.acknowledged_number, c.last_number)
        FROM data.change_counters AS c WHERE c.user_id = d.user_id";

/// Returns the version and the content of a record from the feed.
async fn read_record(device: &Device, record: Uuid) -> (i64, String) {
    let (entries, _) = pull(device, BEGINNING).await.unwrap();
    let states = contents(device, &entries);
    let (_, version, content) = states.into_iter().find(|(id, ..)| *id == record).unwrap();
    (version, content.unwrap())
}

/// After a restore the same version number stands for another content, which a device of the old history must not
/// overwrite.
#[tokio::test]
async fn a_version_number_given_out_again_is_not_overwritten_unseen() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let laptop = phone.another().await.unwrap();
    let put = async |device: &Device, seen, content| {
        let request = put_request(device, seen, content).unwrap();
        let answer = device.client.preferences().put_preferences(request).await?;
        Ok::<_, Status>(answer.into_inner().version)
    };
    let record = create(&phone, "one").await;
    put(&phone, 0, "one").await.unwrap();
    for device in [&phone, &laptop] {
        catch_up(device, BEGINNING).await;
    }
    execute(&stack.database, SAVE_STATE).await;
    update(&phone, record, 1, "two").await;
    put(&phone, 1, "two").await.unwrap();
    catch_up(&phone, BEGINNING).await;
    execute(&stack.database, RESTORE_STATE).await;
    execute(&stack.database, BEGIN_EPOCH).await;

    catch_up(&laptop, BEGINNING).await;
    update(&laptop, record, 1, "another two").await;
    assert_eq!(put(&laptop, 1, "another two").await.unwrap(), 2);
    let cycle = || phone.client.cycle();
    let over_two = || phone.update(record, 2, "three").unwrap();
    let status = cycle().update_record(over_two()).await.unwrap_err();
    assert_restored(&status, "UpdateRecord");
    assert_restored(&put(&phone, 2, "three").await.unwrap_err(), "PutPreferences");
    for change in [phone.put(record, 2, "three").unwrap(), phone.delete(record, 2)] {
        assert_restored(&push(&phone, vec![change]).await.unwrap_err(), "PushChanges");
    }
    assert_eq!(read_record(&laptop, record).await, (2, "another two".to_owned()));
    // The phone's change over the lost version becomes a conflict, once the phone has pulled the new history.
    catch_up(&phone, BEGINNING).await;
    let request = push_request(&phone, vec![phone.put(record, 1, "two").unwrap()]);
    let pushed = cycle().push_changes(request).await.unwrap().into_inner();
    assert!(!pushed.results[0].conflict_id.is_empty());
    cycle().update_record(over_two()).await.unwrap();
    assert_eq!(put(&phone, 2, "three").await.unwrap(), 3);
    assert_eq!(read_record(&laptop, record).await, (3, "three".to_owned()));
}
