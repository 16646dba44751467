//! An export has all of the person's data: opened where the service sealed it, and unchanged where devices encrypted it.

use haven_proto::data::v1::{
    AuditEventType, CompleteJobRequest, CreateShareRequest, DeleteRecordRequest, DeviceType,
    EncryptionAlgorithm, ExportDataResponse, OpenShareRequest, PushChangesRequest, PushMode,
    PutPreferencesRequest, ShareAccessOutcome,
};
use haven_testkit::{
    Stack,
    encryption::{ContentBinding, Kind, Secret},
    random,
};
use uuid::Uuid;

use super::{counted, export, exported};
use crate::{
    account::deletion::rows::owned,
    analysis_jobs,
    crisis_message::{ALARMING, say_until_heard, saying},
    test_device::{Device, at},
};

/// A share, and the key to its content.
pub(crate) struct Shared {
    id: Uuid,
    key_id: Uuid,
    secret: Secret,
}

#[tokio::test]
async fn everything_is_exported_and_opens() {
    let stack = Stack::start().await.unwrap();
    // Another person has as much data. None of it is exported.
    let bob = Device::invent(&stack).await.unwrap();
    create_everything(&stack, &bob).await;
    let ada = Device::invent(&stack).await.unwrap();
    let shared = create_everything(&stack, &ada).await;
    let export = export(&ada.client).await.unwrap();

    let manifest = export.manifest.as_ref().unwrap();
    assert_eq!(
        (manifest.format_version, &manifest.user_id),
        (1, &ada.person.id.to_string())
    );
    assert!(manifest.create_time.unwrap().seconds <= manifest.start_time.unwrap().seconds);
    let (start, end) = (manifest.start_time.unwrap(), manifest.end_time.unwrap());
    assert!((start.seconds, start.nanos) < (end.seconds, end.nanos));
    let counted = counted(&export);
    assert_eq!(exported(manifest), counted);
    let owned = owned(&stack, &ada.person).await;
    for (table, rows) in &counted {
        assert!(*rows > 0, "{table} has no rows");
        assert_eq!(owned[table], *rows, "{table}");
    }

    conversation(&export);
    devices(&export, &ada);
    preferences(&export, &ada);
    shares(&export, &ada, &shared);
    log(&export, &ada, &shared);
}

/// Creates rows in every exported table.
pub(crate) async fn create_everything(stack: &Stack, device: &Device) -> Shared {
    let client = &device.client;
    let mut conversation = client.conversation();
    conversation.append_message(saying("hello")).await.unwrap();
    say_until_heard(client, ALARMING).await;
    let lease = analysis_jobs::leased(stack, client).await;
    let completion = CompleteJobRequest {
        insights: vec!["they are brave".to_owned()],
        ..analysis_jobs::completion(lease)
    };
    let worker = stack.service("worker").unwrap();
    worker.queue().complete_job(completion).await.unwrap();

    let (kept, lost, deleted) = (random::uuid(), random::uuid(), random::uuid());
    for (record, content) in [(kept, "kept"), (lost, "won"), (deleted, "deleted")] {
        let create = device.create(record, content).unwrap();
        client.cycle().create_record(create).await.unwrap();
    }
    let delete = DeleteRecordRequest {
        device_id: device.id.to_string(),
        record_id: deleted.to_string(),
        expected_version: 1,
        request_id: random::uuid().to_string(),
    };
    client.cycle().delete_record(delete).await.unwrap();
    // Two changes of a second device that end in conflicts: a put, and a deletion.
    let mut other = device.another().await.unwrap();
    other.algorithm = EncryptionAlgorithm::Aes256Gcm;
    let push = PushChangesRequest {
        device_id: other.id.to_string(),
        changes: vec![other.put(lost, 0, "lost").unwrap(), other.delete(kept, 7)],
        mode: PushMode::Independent.into(),
        request_id: random::uuid().to_string(),
    };
    client.cycle().push_changes(push).await.unwrap();

    let binding = ContentBinding {
        kind: Kind::Preferences,
        user_id: device.person.id,
        record_id: device.person.id,
        version: 1,
    };
    let sealed = device
        .secret
        .seal(b"dark", binding, device.algorithm, device.id, device.key_version);
    let (encrypted_payload, envelope) = sealed.unwrap();
    let put = PutPreferencesRequest {
        device_id: device.id.to_string(),
        expected_version: 0,
        encrypted_payload,
        crypto_envelope: Some(envelope),
        request_id: random::uuid().to_string(),
    };
    client.preferences().put_preferences(put).await.unwrap();
    share(stack, device).await
}

/// Creates a share, opens it, and has a second opening refused.
async fn share(stack: &Stack, device: &Device) -> Shared {
    let shared = Shared {
        id: random::uuid(),
        key_id: random::uuid(),
        secret: Secret::generate(),
    };
    let sealed = shared.secret.seal(
        b"for my doctor",
        binding(device, &shared),
        device.algorithm,
        shared.key_id,
        1,
    );
    let (encrypted_share_data, envelope) = sealed.unwrap();
    let create = CreateShareRequest {
        share_id: shared.id.to_string(),
        encrypted_share_data,
        crypto_envelope: Some(envelope),
        expire_time: Some(at(chrono::Utc::now() + chrono::TimeDelta::days(7))),
        max_access_count: 1,
        passcode: String::new(),
        request_id: random::uuid().to_string(),
    };
    let created = device.client.share().create_share(create).await.unwrap();
    let open = OpenShareRequest {
        token: created.into_inner().token,
        passcode: String::new(),
        device_type: DeviceType::Desktop.into(),
    };
    let anonymous = stack.anonymous().unwrap();
    anonymous.share().open_share(open.clone()).await.unwrap();
    anonymous.share().open_share(open).await.unwrap_err();
    shared
}

/// Returns the binding of the share's content.
fn binding(device: &Device, shared: &Shared) -> ContentBinding {
    ContentBinding {
        kind: Kind::Share,
        user_id: device.person.id,
        record_id: shared.id,
        version: 1,
    }
}

/// Asserts that rows that the service sealed are opened.
fn conversation(export: &ExportDataResponse) {
    assert_eq!(export.messages[0].text, "hello");
    assert!(export.messages.is_sorted_by_key(|message| message.number));
    let alarm = &export.crisis_events[0];
    let alarming = export
        .messages
        .iter()
        .find(|message| message.id == alarm.message_id);
    assert_eq!(alarming.unwrap().text, ALARMING);
    assert!(!alarm.resources.is_empty());
    assert_eq!(export.analyses[0].insights, ["they are brave"]);
    assert_eq!(export.analyses[0].id, export.analysis_jobs[0].id);
}

/// Asserts that encrypted rows of all devices open with the person's secret: records, tombstones and conflicts.
fn devices(export: &ExportDataResponse, device: &Device) {
    let ids: Vec<_> = export
        .devices
        .iter()
        .map(|device| device.device_id.clone())
        .collect();
    assert_eq!(
        (ids.len(), &ids[0]),
        (2, &device.id.to_string()),
        "in the order of registration"
    );
    assert!(
        export
            .devices
            .iter()
            .all(|device| !device.encrypted_master_key.is_empty())
    );

    let live = export
        .records
        .iter()
        .filter(|record| record.delete_time.is_none());
    let mut contents: Vec<_> = live.map(|record| device.open(record).unwrap()).collect();
    contents.sort();
    assert_eq!(contents, ["kept", "won"]);
    let tombstone = export
        .records
        .iter()
        .find(|record| record.delete_time.is_some())
        .unwrap();
    assert!(tombstone.encrypted_payload.is_empty() && tombstone.crypto_envelope.is_none());
    assert!(export.records.is_sorted_by_key(|record| record.record_id.clone()));

    let (deletions, changes): (Vec<_>, Vec<_>) = export
        .conflicts
        .iter()
        .partition(|conflict| conflict.crypto_envelope.is_none());
    assert_eq!((deletions.len(), changes.len()), (1, 1));
    assert_eq!((deletions[0].base_version, &deletions[0].device_id), (7, &ids[1]));
    let place = device.binding(changes[0].record_id.parse().unwrap(), changes[0].base_version + 1);
    let envelope = changes[0].crypto_envelope.as_ref().unwrap();
    let lost = device
        .secret
        .open(&changes[0].encrypted_payload, envelope, place)
        .unwrap();
    assert_eq!(lost, b"lost");
}

/// Asserts that the exported preferences open.
fn preferences(export: &ExportDataResponse, device: &Device) {
    let preferences = export.preferences.as_ref().unwrap();
    let binding = ContentBinding {
        kind: Kind::Preferences,
        user_id: device.person.id,
        record_id: device.person.id,
        version: 1,
    };
    let envelope = preferences.crypto_envelope.as_ref().unwrap();
    let opened = device
        .secret
        .open(&preferences.encrypted_payload, envelope, binding)
        .unwrap();
    assert_eq!(opened, b"dark");
}

/// Asserts that the share opens with its key, and that its accesses are exported.
fn shares(export: &ExportDataResponse, device: &Device, shared: &Shared) {
    let whole = &export.shares[0];
    let share = whole.share.as_ref().unwrap();
    assert_eq!(share.share_id, shared.id.to_string());
    assert_eq!((share.access_count, share.refusal_count), (1, 1));
    let envelope = whole.crypto_envelope.as_ref().unwrap();
    let opened = shared
        .secret
        .open(&whole.encrypted_share_data, envelope, binding(device, shared))
        .unwrap();
    assert_eq!(opened, b"for my doctor");
    let outcomes: Vec<_> = export
        .share_accesses
        .iter()
        .map(|access| access.outcome())
        .collect();
    assert_eq!(outcomes, [ShareAccessOutcome::Opened, ShareAccessOutcome::UsedUp]);
    for access in &export.share_accesses {
        assert_eq!(
            (&access.share_id, access.device_type()),
            (&share.share_id, DeviceType::Desktop)
        );
    }
}

/// Asserts that the audit log has the person's actions, and the export as the last one.
fn log(export: &ExportDataResponse, device: &Device, shared: &Shared) {
    let events: Vec<_> = export
        .audit_events
        .iter()
        .map(|event| event.event_type())
        .collect();
    let expected = [
        AuditEventType::DeviceRegistered,
        AuditEventType::DeviceRegistered,
        AuditEventType::ShareCreated,
        AuditEventType::DataExported,
    ];
    assert_eq!(events, expected);
    let subjects = [0, 2, 3].map(|position: usize| export.audit_events[position].subject_id.clone());
    assert_eq!(
        subjects,
        [device.id.to_string(), shared.id.to_string(), String::new()]
    );
}
