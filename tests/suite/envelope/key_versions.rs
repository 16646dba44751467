//! Content must be encrypted under the current version of a device's key: neither an older nor a later one.

use anyhow::{Context, Result};
use haven_proto::{
    data::v1::{ChangeOutcome, RotateDeviceKeyRequest},
    errors::v1::Reason,
};
use haven_testkit::{Stack, random};
use tonic::Status;

use super::payload_calls::{push, put_preferences, seal_preferences};
use crate::{
    status::{metadata, reason, violations},
    test_device::Device,
};

/// Rotates the key of `device`.
pub(super) async fn rotate(device: &mut Device) -> Result<()> {
    let request = RotateDeviceKeyRequest {
        device_id: device.id.to_string(),
        expected_key_version: device.key_version,
        encrypted_master_key: device.secret.wrapped()?,
        key_derivation_path: "m/44'/0'/2'".into(),
        request_id: random::uuid().to_string(),
        encrypted_label: Vec::new(),
    };
    let answer = device
        .client
        .device()
        .rotate_device_key(request)
        .await?
        .into_inner();
    let version = answer.device.context("no device")?.key_version;
    assert_eq!(version, device.key_version + 1);
    device.key_version = version;
    Ok(())
}

/// Returns how each RPC refuses content that `device` encrypted, and the reason and key version in the result of a
/// pushed change.
async fn refusals(device: &Device) -> Result<(Vec<Status>, Reason, i32)> {
    let mut cycle = device.client.cycle();
    let record = random::uuid();
    let created = cycle.create_record(device.create(record, "created")?).await;
    let preferences = seal_preferences(device, "preferences", 1)?;
    let put = put_preferences(device, 0, preferences.payload, preferences.envelope).await;
    let change = device.put(record, 0, "changed")?;
    let result = push(device, vec![change]).await?.results.remove(0);
    assert_eq!(result.outcome(), ChangeOutcome::Refused);
    let updated = cycle.update_record(device.update(record, 1, "updated")?).await;
    let statuses = vec![
        created.err().context("created")?,
        put.err().context("put")?,
        updated.err().context("updated")?,
    ];
    Ok((statuses, result.reason(), result.current_key_version))
}

#[tokio::test]
async fn an_older_key_version_is_stale() -> Result<()> {
    let stack = Stack::shared().await?;
    let mut device = Device::invent(stack).await?;
    let before = device.create(random::uuid(), "before")?;
    let stored = device
        .client
        .cycle()
        .create_record(before.clone())
        .await?
        .into_inner();
    let old = device.clone();
    rotate(&mut device).await?;

    let (statuses, reason_of_change, current) = refusals(&old).await?;
    for status in statuses {
        assert_eq!(reason(&status), "KEY_VERSION_STALE");
        assert_eq!(metadata(&status, "current_key_version"), "2");
    }
    assert_eq!((reason_of_change, current), (Reason::KeyVersionStale, 2));

    // A retry of a call of before gets its first answer, and new content is accepted under the new key.
    let mut again = before;
    again.request_id = random::uuid().to_string();
    let answer = device.client.cycle().create_record(again).await?.into_inner();
    assert_eq!(answer, stored);
    let after = device.create(random::uuid(), "after")?;
    device.client.cycle().create_record(after).await?;
    Ok(())
}

#[tokio::test]
async fn a_later_key_version_is_unknown() -> Result<()> {
    let stack = Stack::shared().await?;
    let device = Device::invent(stack).await?;
    let mut ahead = device.clone();
    ahead.key_version = 2;
    let (statuses, reason_of_change, current) = refusals(&ahead).await?;
    for status in statuses {
        assert_eq!(reason(&status), "ENVELOPE_INVALID");
        let expected = (
            "crypto_envelope.key_version".to_owned(),
            "KEY_VERSION_UNKNOWN".to_owned(),
        );
        assert_eq!(violations(&status), [expected]);
        assert_eq!(metadata(&status, "current_key_version"), "1");
    }
    assert_eq!((reason_of_change, current), (Reason::EnvelopeInvalid, 1));
    Ok(())
}
