//! RotateDeviceKey frees the nonces that no device needs any more.

use haven_testkit::Stack;

use super::usage;
use crate::{
    device::{list_all, revoke, revoke_request, rotate, rotate_request},
    superuser_sql::execute,
    test_device::Device,
};

/// Adds nonces of a device's key.
async fn add_nonces(stack: &Stack, device: &Device, key_version: u32, count: u32, age: &str) {
    let sql = format!(
        "INSERT INTO data.envelope_nonces
            (user_id, key_id, key_version, nonce, content_digest, outcome, version, used_at)
        SELECT '{}', '{}', {key_version}, sha256((n || age.text)::bytea), sha256('x'), 'applied', 1, now() - age.text::interval
        FROM generate_series(1, {count}) AS n, (VALUES ('{age}')) AS age (text)",
        device.person.id, device.id
    );
    execute(&stack.database, &sql).await;
}

#[tokio::test]
async fn a_rotation_frees_nonces_of_revoked_devices_and_old_ones_of_earlier_key_versions() {
    let stack = Stack::shared().await.unwrap();
    let lost = Device::invent(stack).await.unwrap();
    let kept = lost.another().await.unwrap();
    let ada = &lost.client;
    add_nonces(stack, &lost, 1, 12_000, "1 second").await;
    add_nonces(stack, &kept, 0, 12_000, "181 days").await;
    add_nonces(stack, &kept, 0, 7, "179 days").await;
    add_nonces(stack, &kept, 1, 5, "181 days").await;
    assert_eq!(usage(ada).await["nonces"].0, 24_012);
    let devices = list_all(ada).await;
    let [of_lost, of_kept] = [&lost, &kept].map(|device| {
        let id = device.id.to_string();
        devices.iter().find(|found| found.device_id == id).unwrap()
    });
    revoke(ada, revoke_request(of_lost)).await.unwrap();
    let rotated = rotate(ada, rotate_request(of_kept)).await.unwrap();
    // What is left: what is not old enough, and what was of the key version that the rotation ended.
    assert_eq!(usage(ada).await["nonces"].0, 12);
    rotate(ada, rotate_request(&rotated)).await.unwrap();
    assert_eq!(usage(ada).await["nonces"].0, 7);
}
