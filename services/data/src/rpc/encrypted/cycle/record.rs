//! Records, conflicts and envelopes, as they are sent.

use haven_platform::time::timestamp;
use haven_proto::data::v1::{self as proto, CryptoEnvelope, EncryptionAlgorithm};

use crate::domain::encrypted::{
    envelope::{ASSOCIATED_DATA_VERSION, Algorithm, ENVELOPE_VERSION, Encrypted, Envelope},
    record::{Conflict, Record, RecordVersion, SyncStatus},
};

/// A record, as it is sent.
pub(in crate::rpc) fn record_message(record: Record) -> proto::Record {
    let (encrypted_payload, crypto_envelope) = content_message(record.content);
    let sync_status = match record.sync_status {
        SyncStatus::Pending => proto::SyncStatus::Pending,
        SyncStatus::Synced => proto::SyncStatus::Synced,
        SyncStatus::Conflict => proto::SyncStatus::Conflict,
    };
    proto::Record {
        record_id: record.id.to_string(),
        encrypted_payload,
        crypto_envelope,
        version: record.version,
        device_id: record.device_id.to_string(),
        local_time: Some(timestamp(record.local_time)),
        sync_status: sync_status.into(),
        change_number: record.change_number,
        create_time: Some(timestamp(record.created_at)),
        update_time: Some(timestamp(record.updated_at)),
        delete_time: record.deleted_at.map(timestamp),
        reencryption_due: record.reencryption_due,
    }
}

/// A conflict, as it is sent.
pub(in crate::rpc) fn conflict_message(conflict: Conflict) -> proto::Conflict {
    let (encrypted_payload, crypto_envelope) = content_message(conflict.content);
    proto::Conflict {
        conflict_id: conflict.id.to_string(),
        record_id: conflict.record_id.to_string(),
        base_version: conflict.base_version,
        encrypted_payload,
        crypto_envelope,
        device_id: conflict.device_id.to_string(),
        local_time: Some(timestamp(conflict.local_time)),
        create_time: Some(timestamp(conflict.created_at)),
        settle_time: conflict.settled_at.map(timestamp),
        change_number: conflict.change_number,
    }
}

/// What a change made of a record, as it is sent.
pub(super) fn version_message(version: RecordVersion) -> proto::RecordVersion {
    proto::RecordVersion {
        record_id: version.record_id.to_string(),
        version: version.version,
        change_number: version.change_number,
        change_time: Some(timestamp(version.changed_at)),
    }
}

/// A payload and its envelope, as they are sent: of nothing, nothing.
pub(in crate::rpc) fn content_message(content: Option<Encrypted>) -> (Vec<u8>, Option<CryptoEnvelope>) {
    match content {
        Some(content) => (content.payload, Some(envelope_message(content.envelope))),
        None => (Vec::new(), None),
    }
}

fn envelope_message(envelope: Envelope) -> CryptoEnvelope {
    let algorithm = match envelope.algorithm {
        Algorithm::XChaCha20Poly1305 => EncryptionAlgorithm::Xchacha20Poly1305,
        Algorithm::Aes256Gcm => EncryptionAlgorithm::Aes256Gcm,
    };
    CryptoEnvelope {
        envelope_version: ENVELOPE_VERSION.into(),
        algorithm: algorithm.into(),
        key_id: envelope.key_id.to_string(),
        key_version: envelope.key_version,
        nonce: envelope.nonce,
        salt: envelope.salt,
        key_derivation: Some(proto::KeyDerivation {
            memory_kib: envelope.key_derivation.memory_kib,
            iterations: envelope.key_derivation.iterations,
            parallelism: envelope.key_derivation.parallelism,
        }),
        associated_data_version: ASSOCIATED_DATA_VERSION.into(),
    }
}
