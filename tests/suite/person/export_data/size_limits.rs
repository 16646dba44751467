//! The largest rows of each kind: no answer exceeds its size limit, which `rest` checks in every export.

use chrono::{TimeDelta, Utc};
use haven_proto::data::v1::{CreateShareRequest, PushChangesRequest, PushMode};
use haven_testkit::{
    Stack,
    encryption::{ContentBinding, Kind, Secret},
    random,
};

use super::export;
use crate::{
    crisis_message::saying,
    test_device::{Device, at},
};

/// The number of bytes that encryption adds.
const TAG: usize = 16;

#[tokio::test]
async fn no_answer_exceeds_its_size_limit() {
    let stack = Stack::start().await.unwrap();
    let ada = Device::invent(&stack).await.unwrap();
    // The data of each kind has at least twice its size limit.
    let text = "🌒".repeat(2_000);
    for _ in 0..300 {
        let appended = ada.client.conversation().append_message(saying(&text)).await;
        appended.unwrap();
    }
    let content = "r".repeat(65_536 - TAG);
    for _ in 0..4 {
        let changes = (0..12).map(|_| ada.put(random::uuid(), 0, &content).unwrap());
        let push = PushChangesRequest {
            device_id: ada.id.to_string(),
            changes: changes.collect(),
            mode: PushMode::Atomic.into(),
            request_id: random::uuid().to_string(),
        };
        ada.client.cycle().push_changes(push).await.unwrap();
    }
    for _ in 0..12 {
        share(&ada, &vec![b's'; 262_144 - TAG]).await;
    }

    let export = export(&ada.client).await.unwrap();
    assert_eq!(export.messages.len(), 300);
    assert!(export.messages.iter().all(|message| message.text == text));
    assert_eq!(export.records.len(), 48);
    for record in &export.records {
        assert!(ada.open(record).unwrap() == content);
    }
    assert_eq!(export.shares.len(), 12);
    let shared = |share: &Vec<u8>| share.len() == 262_144;
    assert!(
        export
            .shares
            .iter()
            .all(|share| shared(&share.encrypted_share_data))
    );
}

/// Creates a share with `content`.
async fn share(device: &Device, content: &[u8]) {
    let (share_id, key_id) = (random::uuid(), random::uuid());
    let binding = ContentBinding {
        kind: Kind::Share,
        user_id: device.person.id,
        record_id: share_id,
        version: 1,
    };
    let sealed = Secret::generate().seal(content, binding, device.algorithm, key_id, 1);
    let (encrypted_share_data, envelope) = sealed.unwrap();
    let create = CreateShareRequest {
        share_id: share_id.to_string(),
        encrypted_share_data,
        crypto_envelope: Some(envelope),
        expire_time: Some(at(Utc::now() + TimeDelta::days(1))),
        max_access_count: 1,
        passcode: String::new(),
        request_id: random::uuid().to_string(),
    };
    device.client.share().create_share(create).await.unwrap();
}
