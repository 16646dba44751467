//! A nonce is used once per key, for content of any kind.

use anyhow::{Context, Result};
use haven_proto::{
    data::v1::{ChangeOutcome, CreateShareRequest, CryptoEnvelope},
    errors::v1::Reason,
};
use haven_testkit::{Stack, random};

use super::{
    key_versions::rotate,
    payload_calls::{in_an_hour, push, put_preferences, seal_preferences, seal_share},
};
use crate::{status::reason, test_device::Device};

/// Returns the nonce of an envelope, to be replaced.
fn nonce(envelope: &mut Option<CryptoEnvelope>) -> &mut Vec<u8> {
    &mut envelope.get_or_insert_default().nonce
}

#[tokio::test]
async fn a_nonce_is_used_once_under_a_devices_key() -> Result<()> {
    let stack = Stack::shared().await?;
    let device = Device::invent(stack).await?;
    let mut cycle = device.client.cycle();
    let record = random::uuid();
    let mut first = device.create(record, "first")?;
    let used = nonce(&mut first.crypto_envelope).clone();
    cycle.create_record(first.clone()).await?;

    // The nonce is used again in another record, in the next version of the same record, in preferences, and in a
    // pushed change, each with another content.
    let mut another = device.create(random::uuid(), "another")?;
    *nonce(&mut another.crypto_envelope) = used.clone();
    let status = cycle.create_record(another.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "NONCE_REUSED");
    let mut next = device.update(record, 1, "next")?;
    let fresh = nonce(&mut next.crypto_envelope).clone();
    *nonce(&mut next.crypto_envelope) = used.clone();
    let status = cycle.update_record(next.clone()).await.unwrap_err();
    assert_eq!(reason(&status), "NONCE_REUSED");
    let mut preferences = seal_preferences(&device, "preferences", 1)?;
    *nonce(&mut preferences.envelope) = used.clone();
    let put = put_preferences(
        &device,
        0,
        preferences.payload.clone(),
        preferences.envelope.clone(),
    )
    .await;
    assert_eq!(reason(&put.unwrap_err()), "NONCE_REUSED");
    let mut change = device.put(random::uuid(), 0, "change")?;
    *nonce(&mut change.crypto_envelope) = used.clone();
    let result = push(&device, vec![change.clone()]).await?.results.remove(0);
    assert_eq!(result.outcome(), ChangeOutcome::Refused);
    assert_eq!(result.reason(), Reason::NonceReused);

    // The refused update stored nothing, so its request is accepted with another nonce.
    *nonce(&mut next.crypto_envelope) = fresh;
    let updated = cycle.update_record(next).await?.into_inner();
    assert_eq!(updated.record.context("no record")?.version, 2);
    // The nonce stays used although its content was replaced.
    let status = cycle.create_record(another).await.unwrap_err();
    assert_eq!(reason(&status), "NONCE_REUSED");

    // A request with the same content and the same nonce is a retry, even when the record has changed.
    first.request_id = random::uuid().to_string();
    let again = cycle.create_record(first).await?.into_inner();
    assert_eq!(again.record.context("no record")?.version, 1);
    Ok(())
}

#[tokio::test]
async fn a_nonce_can_be_used_under_another_key() -> Result<()> {
    let stack = Stack::shared().await?;
    let mut device = Device::invent(stack).await?;
    let mut first = device.create(random::uuid(), "first")?;
    let used = nonce(&mut first.crypto_envelope).clone();
    device.client.cycle().create_record(first).await?;
    let other = device.another().await?;
    let mut another = other.create(random::uuid(), "another")?;
    *nonce(&mut another.crypto_envelope) = used.clone();
    other.client.cycle().create_record(another).await?;
    rotate(&mut device).await?;
    let mut rotated = device.create(random::uuid(), "rotated")?;
    *nonce(&mut rotated.crypto_envelope) = used;
    device.client.cycle().create_record(rotated).await?;
    Ok(())
}

#[tokio::test]
async fn a_nonce_of_preferences_cannot_be_used_for_a_record() -> Result<()> {
    let stack = Stack::shared().await?;
    let device = Device::invent(stack).await?;
    let mut preferences = seal_preferences(&device, "preferences", 1)?;
    let used = nonce(&mut preferences.envelope).clone();
    assert_eq!(
        put_preferences(&device, 0, preferences.payload, preferences.envelope).await?,
        1
    );
    let mut record = device.create(random::uuid(), "record")?;
    *nonce(&mut record.crypto_envelope) = used;
    let status = device.client.cycle().create_record(record).await.unwrap_err();
    assert_eq!(reason(&status), "NONCE_REUSED");
    Ok(())
}

#[tokio::test]
async fn a_nonce_is_used_once_under_a_shares_key() -> Result<()> {
    let stack = Stack::shared().await?;
    let device = Device::invent(stack).await?;
    let share = |content: &str| {
        let id = random::uuid();
        let sealed = seal_share(&device, content, id)?;
        anyhow::Ok(CreateShareRequest {
            share_id: id.to_string(),
            encrypted_share_data: sealed.payload,
            crypto_envelope: sealed.envelope,
            expire_time: Some(in_an_hour()),
            max_access_count: 1,
            passcode: String::new(),
            request_id: random::uuid().to_string(),
        })
    };
    let first = share("first")?;
    device.client.share().create_share(first.clone()).await?;
    let mut second = share("second")?;
    second.crypto_envelope = first.crypto_envelope.clone();
    let status = device
        .client
        .share()
        .create_share(second.clone())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "NONCE_REUSED");
    // A nonce that was used under another key is accepted.
    let envelope = second.crypto_envelope.get_or_insert_default();
    envelope.key_id = random::uuid().to_string();
    device.client.share().create_share(second).await?;
    Ok(())
}
