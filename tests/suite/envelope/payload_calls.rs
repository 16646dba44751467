//! Every RPC that takes a payload with an envelope.

use anyhow::{Context, Result};
use haven_proto::data::v1::{
    Change, ChangeKind, ConflictResolution, CreateRecordRequest, CreateShareRequest, CryptoEnvelope,
    GetRecordRequest, PushChangesRequest, PushChangesResponse, PushMode, PutPreferencesRequest, Record,
    ResolveConflictRequest, UpdateRecordRequest,
};
use haven_testkit::{
    encryption::{ContentBinding, Kind, Secret},
    random,
};
use prost_types::Timestamp;
use tonic::Status;
use uuid::Uuid;

use crate::test_device::{Device, now};

/// An RPC that takes a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PayloadRpc {
    CreateRecord,
    UpdateRecord,
    /// The payload is in `changes[3]`.
    PushChanges,
    ResolveConflict,
    PutPreferences,
    CreateShare,
}

/// A payload with its envelope.
#[derive(Clone)]
pub(super) struct Sealed {
    /// The ciphertext with its authentication tag.
    pub(super) payload: Vec<u8>,
    /// The envelope; a test may leave it out.
    pub(super) envelope: Option<CryptoEnvelope>,
}

impl Sealed {
    /// Encrypts a content with `device` for a new record.
    pub(super) fn by(device: &Device) -> Result<Self> {
        let (payload, envelope) = device.seal("What a device encrypts.", random::uuid(), 1)?;
        Ok(Self {
            payload,
            envelope: Some(envelope),
        })
    }

    /// Returns the envelope, to be changed.
    pub(super) fn envelope(&mut self) -> &mut CryptoEnvelope {
        self.envelope.get_or_insert_default()
    }
}

impl PayloadRpc {
    /// Every one of these RPCs.
    pub(super) const ALL: [Self; 6] = [
        Self::CreateRecord,
        Self::UpdateRecord,
        Self::PushChanges,
        Self::ResolveConflict,
        Self::PutPreferences,
        Self::CreateShare,
    ];

    /// Returns the path before the envelope's field.
    pub(super) fn path_prefix(self) -> &'static str {
        match self {
            Self::PushChanges => "changes[3].",
            _ => "",
        }
    }

    /// Returns the path of the payload's field.
    pub(super) fn payload_path(self) -> String {
        let field = match self {
            Self::CreateShare => "encrypted_share_data",
            _ => "encrypted_payload",
        };
        format!("{}{field}", self.path_prefix())
    }

    /// Returns the maximum size of the payload in bytes.
    pub(super) fn max_payload_size(self) -> usize {
        match self {
            Self::CreateShare => 256 * 1024,
            _ => 64 * 1024,
        }
    }

    /// Sends `sealed` as `device`. The record of a change or a resolution does not exist: the envelope is checked
    /// first.
    pub(super) async fn call(self, device: &Device, sealed: Sealed) -> Result<(), Status> {
        let Sealed {
            payload: encrypted_payload,
            envelope: crypto_envelope,
        } = sealed;
        let id = || random::uuid().to_string();
        let (device_id, local_time) = (device.id.to_string(), Some(now()));
        match self {
            Self::CreateRecord => {
                let request = CreateRecordRequest {
                    device_id,
                    record_id: String::new(),
                    encrypted_payload,
                    crypto_envelope,
                    local_time,
                    request_id: id(),
                };
                device.client.cycle().create_record(request).await.map(drop)
            }
            Self::UpdateRecord => {
                let request = UpdateRecordRequest {
                    device_id,
                    record_id: id(),
                    expected_version: 1,
                    encrypted_payload,
                    crypto_envelope,
                    local_time,
                    request_id: id(),
                };
                device.client.cycle().update_record(request).await.map(drop)
            }
            Self::PushChanges => {
                let mut changes: Vec<_> = (0..3).map(|_| device.delete(random::uuid(), 1)).collect();
                changes.push(Change {
                    kind: ChangeKind::Put.into(),
                    record_id: id(),
                    expected_version: 0,
                    encrypted_payload,
                    crypto_envelope,
                    local_time,
                });
                push(device, changes).await.map(drop)
            }
            Self::ResolveConflict => {
                let request = ResolveConflictRequest {
                    device_id,
                    record_id: id(),
                    expected_version: 1,
                    conflict_ids: vec![id()],
                    resolution: ConflictResolution::Replace.into(),
                    encrypted_payload,
                    crypto_envelope,
                    local_time,
                    request_id: id(),
                };
                device.client.cycle().resolve_conflict(request).await.map(drop)
            }
            Self::PutPreferences => put_preferences(device, 0, encrypted_payload, crypto_envelope)
                .await
                .map(drop),
            Self::CreateShare => {
                // Cases are encrypted under the device's key, but a share must have a key of its own.
                let own = |envelope: CryptoEnvelope| match envelope.key_id == device_id {
                    true => CryptoEnvelope {
                        key_id: id(),
                        ..envelope
                    },
                    false => envelope,
                };
                let crypto_envelope = crypto_envelope.map(own);
                let request = CreateShareRequest {
                    share_id: String::new(),
                    encrypted_share_data: encrypted_payload,
                    crypto_envelope,
                    expire_time: Some(in_an_hour()),
                    max_access_count: 1,
                    passcode: String::new(),
                    request_id: id(),
                };
                device.client.share().create_share(request).await.map(drop)
            }
        }
    }
}

/// Pushes `changes` in the mode INDEPENDENT.
pub(super) async fn push(device: &Device, changes: Vec<Change>) -> Result<PushChangesResponse, Status> {
    let request = PushChangesRequest {
        device_id: device.id.to_string(),
        changes,
        mode: PushMode::Independent.into(),
        request_id: random::uuid().to_string(),
    };
    Ok(device.client.cycle().push_changes(request).await?.into_inner())
}

/// Stores preferences over a version, and returns the new version.
pub(super) async fn put_preferences(
    device: &Device,
    expected_version: i64,
    encrypted_payload: Vec<u8>,
    crypto_envelope: Option<CryptoEnvelope>,
) -> Result<i64, Status> {
    let request = PutPreferencesRequest {
        device_id: device.id.to_string(),
        expected_version,
        encrypted_payload,
        crypto_envelope,
        request_id: random::uuid().to_string(),
    };
    let answer = device.client.preferences().put_preferences(request).await?;
    Ok(answer.into_inner().version)
}

/// Encrypts preferences for a version.
pub(super) fn seal_preferences(device: &Device, content: &str, version: u64) -> Result<Sealed> {
    let binding = ContentBinding {
        kind: Kind::Preferences,
        user_id: device.person.id,
        record_id: device.person.id,
        version,
    };
    let (payload, envelope) = device.secret.seal(
        content.as_bytes(),
        binding,
        device.algorithm,
        device.id,
        device.key_version,
    )?;
    Ok(Sealed {
        payload,
        envelope: Some(envelope),
    })
}

/// Encrypts a share under a new key.
pub(super) fn seal_share(device: &Device, content: &str, share: Uuid) -> Result<Sealed> {
    let binding = ContentBinding {
        kind: Kind::Share,
        user_id: device.person.id,
        record_id: share,
        version: 1,
    };
    let (payload, envelope) =
        Secret::generate().seal(content.as_bytes(), binding, device.algorithm, random::uuid(), 1)?;
    Ok(Sealed {
        payload,
        envelope: Some(envelope),
    })
}

/// Returns the time in one hour.
pub(super) fn in_an_hour() -> Timestamp {
    let now = now();
    Timestamp {
        seconds: now.seconds + 3600,
        ..now
    }
}

/// Returns a record as it is stored.
pub(super) async fn get(device: &Device, record: Uuid) -> Result<Record> {
    let request = GetRecordRequest {
        record_id: record.to_string(),
        device_id: String::new(),
    };
    let answer = device.client.cycle().get_record(request).await?.into_inner();
    answer.record.context("the answer has no record")
}
