//! Nonces are stored for at least 180 days, however often the key is rotated: a repeated change is recognized that
//! long.

use haven_proto::data::v1::{ChangeOutcome, RotateDeviceKeyRequest};
use haven_proto::errors::v1::Reason;
use haven_testkit::{Stack, random};
use uuid::Uuid;

use super::{outcomes, push, retry_call};
use crate::{
    cycle::feed::catch_up,
    superuser_sql::{execute, scalar_with},
    test_device::Device,
};

/// Rotates the key of `device`.
async fn rotate(device: &mut Device) {
    let request = RotateDeviceKeyRequest {
        device_id: device.id.to_string(),
        expected_key_version: device.key_version,
        encrypted_master_key: device.secret.wrapped().unwrap(),
        key_derivation_path: "m/44'/0'/2'".into(),
        request_id: random::uuid().to_string(),
        encrypted_label: Vec::new(),
    };
    let mut devices = device.client.device();
    let answer = retry_call(request, async |request| devices.rotate_device_key(request).await);
    device.key_version = answer.await.unwrap().device.unwrap().key_version;
}

/// Returns the stored nonces of the person of `device`: each key version with its number of nonces. Deletions have
/// version 0.
async fn stored_nonces(stack: &Stack, device: &Device) -> String {
    let sql = "SELECT coalesce(string_agg(key_version || ': ' || known, ', ' ORDER BY key_version), '')
        FROM (SELECT key_version, count(*) AS known FROM data.envelope_nonces WHERE user_id = $1
            GROUP BY key_version) AS counts";
    scalar_with(&stack.database, sql, device.person.id).await
}

/// Returns SQL that makes the nonces of a device older.
fn age(device: Uuid, by: &str) -> String {
    format!("UPDATE data.envelope_nonces SET used_at = used_at - interval '{by}' WHERE key_id = '{device}'")
}

#[tokio::test]
async fn an_acknowledged_change_is_still_recognized_after_rotations() {
    let stack = Stack::shared().await.unwrap();
    let mut phone = Device::invent(stack).await.unwrap();
    let (a, b) = (random::uuid(), random::uuid());
    let changes = vec![
        phone.put(a, 0, "one").unwrap(),
        phone.put(b, 0, "other").unwrap(),
        phone.delete(b, 1),
        phone.put(a, 0, "lost").unwrap(),
    ];
    let first = push(&phone, changes.clone()).await;
    catch_up(&phone, "").await;
    for _ in 0..3 {
        rotate(&mut phone).await;
        let again = push(&phone, changes.clone()).await;
        for (again, first) in again.iter().zip(&first[..3]) {
            assert_eq!(again.outcome(), ChangeOutcome::AlreadyApplied);
            assert_eq!(
                (again.version, again.change_number),
                (first.version, first.change_number)
            );
        }
        assert_eq!(again[3], first[3]);
    }
}

#[tokio::test]
async fn a_rotation_deletes_nonces_older_than_180_days() {
    let stack = Stack::shared().await.unwrap();
    let mut phone = Device::invent(stack).await.unwrap();
    let mut tablet = phone.another().await.unwrap();
    let mut changes = Vec::new();
    for _ in 0..3 {
        let id = random::uuid();
        changes.push(phone.put(id, 0, "one").unwrap());
        changes.push(phone.delete(id, 1));
        push(&phone, changes[changes.len() - 2..].to_vec()).await;
        rotate(&mut phone).await;
    }
    push(
        &tablet,
        vec![tablet.put(random::uuid(), 0, "the tablet's").unwrap()],
    )
    .await;
    assert_eq!(stored_nonces(stack, &phone).await, "0: 3, 1: 2, 2: 1, 3: 1");
    for device in [&phone, &tablet] {
        execute(&stack.database, &age(device.id, "179 days 23 hours")).await;
    }
    rotate(&mut phone).await;
    assert_eq!(stored_nonces(stack, &phone).await, "0: 3, 1: 2, 2: 1, 3: 1");
    push(&phone, vec![phone.put(random::uuid(), 0, "young").unwrap()]).await;
    execute(&stack.database, &age(phone.id, "2 hours")).await;
    // The rotation from version 5 to 6 keeps the nonces of version 5, and those of the other device.
    push(&phone, vec![phone.put(random::uuid(), 0, "old").unwrap()]).await;
    execute(&stack.database, &age(phone.id, "181 days")).await;
    rotate(&mut phone).await;
    assert_eq!(stored_nonces(stack, &phone).await, "1: 1, 5: 2");
    let results = push(&phone, changes[..2].to_vec()).await;
    assert_eq!(
        (results[0].outcome(), results[0].reason()),
        (ChangeOutcome::Refused, Reason::KeyVersionStale)
    );
    assert_eq!(outcomes(&results[1..]), [(ChangeOutcome::Deleted, 2)]);
    // A rotation of any device deletes the old nonces of earlier key versions of all devices.
    execute(&stack.database, &age(tablet.id, "1 day")).await;
    rotate(&mut tablet).await;
    assert_eq!(stored_nonces(stack, &phone).await, "0: 1, 1: 1");
    rotate(&mut tablet).await;
    assert_eq!(stored_nonces(stack, &phone).await, "0: 1");
}

#[tokio::test]
async fn a_rotation_deletes_at_most_a_hundred_thousand_nonces() {
    let stack = Stack::shared().await.unwrap();
    let mut phone = Device::invent(stack).await.unwrap();
    let many = format!(
        "INSERT INTO data.envelope_nonces (user_id, key_id, key_version, nonce, content_digest, outcome, version, used_at)
         SELECT '{}', '{}', i % 2, sha256(convert_to(i::text, 'UTF8')), sha256(''), 'applied', 1, now() - interval '181 days'
         FROM generate_series(1, 105000) AS i",
        phone.person.id, phone.id
    );
    execute(&stack.database, &many).await;
    let count = async |device: &Device| {
        let sql = "SELECT count(*) FROM data.envelope_nonces WHERE user_id = $1";
        scalar_with::<i64, _>(&stack.database, sql, device.person.id).await
    };
    for left in [52_500, 0] {
        rotate(&mut phone).await;
        assert_eq!(count(&phone).await, left);
    }
    execute(&stack.database, &many).await;
    for left in [5_000, 0] {
        rotate(&mut phone).await;
        assert_eq!(count(&phone).await, left);
    }
}
