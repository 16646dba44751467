//! Proto messages of records, conflicts and record versions.

use haven_platform::time::timestamp;
use haven_proto::data::v1 as proto;

use super::super::envelope::content_message;
use crate::domain::encrypted::record::{Conflict, Record, RecordVersion, SyncStatus};

/// Converts a record into its protobuf message.
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

/// Converts a conflict into its protobuf message.
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

/// Converts the version of a record.
pub(super) fn version_message(version: RecordVersion) -> proto::RecordVersion {
    proto::RecordVersion {
        record_id: version.record_id.to_string(),
        version: version.version,
        change_number: version.change_number,
        change_time: Some(timestamp(version.changed_at)),
    }
}
