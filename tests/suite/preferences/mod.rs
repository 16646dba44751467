//! `haven.data.v1.PreferencesService`: one document per person, stored over the version that a device has seen.

mod concurrent_puts;
mod keys_and_devices;
mod put_preferences;

use anyhow::Result;
use haven_proto::data::v1::{
    GetPreferencesRequest, Preferences, PutPreferencesRequest, PutPreferencesResponse,
};
use haven_testkit::{
    Client,
    encryption::{ContentBinding, Kind},
    random,
};
use tonic::Status;

use crate::{retry::retry_call, test_device::Device};

/// Returns the binding of preferences that are to have `version`.
fn binding(device: &Device, version: i64) -> ContentBinding {
    ContentBinding {
        kind: Kind::Preferences,
        user_id: device.person.id,
        record_id: device.person.id,
        version: version as u64,
    }
}

/// Returns a request to store `content` over the version `seen` of the preferences, which is 0 when there are none.
pub(crate) fn put_request(device: &Device, seen: i64, content: &str) -> Result<PutPreferencesRequest> {
    let (encrypted_payload, envelope) = device.secret.seal(
        content.as_bytes(),
        binding(device, seen + 1),
        device.algorithm,
        device.id,
        device.key_version,
    )?;
    Ok(PutPreferencesRequest {
        device_id: device.id.to_string(),
        expected_version: seen,
        encrypted_payload,
        crypto_envelope: Some(envelope),
        request_id: random::uuid().to_string(),
    })
}

/// Calls PutPreferences, and retries the call when the answer allows a retry.
async fn put(client: &Client, request: PutPreferencesRequest) -> Result<PutPreferencesResponse, Status> {
    let mut preferences = client.preferences();
    retry_call(request, async |request| {
        preferences.put_preferences(request).await
    })
    .await
}

/// Calls GetPreferences without a device.
async fn get(client: &Client) -> Result<Preferences, Status> {
    let request = GetPreferencesRequest::default();
    let answer = client.preferences().get_preferences(request).await?;
    Ok(answer.into_inner().preferences.unwrap())
}

/// Decrypts preferences with the person's master key.
fn open(device: &Device, preferences: &Preferences) -> Result<String> {
    let envelope = preferences.crypto_envelope.as_ref().unwrap();
    let binding = binding(device, preferences.version);
    let opened = device
        .secret
        .open(&preferences.encrypted_payload, envelope, binding)?;
    Ok(String::from_utf8(opened)?)
}
