//! Proto messages of shares and of attempts to open them.

use chrono::{DateTime, Utc};
use haven_platform::time::timestamp;
use haven_proto::data::v1 as proto;

use crate::domain::encrypted::share::{AccessOutcome, DeviceType, Share, ShareAccess, ShareState};

/// Converts a share at `now`.
pub(in crate::rpc) fn share_message(share: &Share, now: DateTime<Utc>) -> proto::Share {
    let state = match share.state(now) {
        ShareState::Active => proto::ShareState::Active,
        ShareState::Expired => proto::ShareState::Expired,
        ShareState::Revoked => proto::ShareState::Revoked,
        ShareState::UsedUp => proto::ShareState::UsedUp,
        ShareState::Locked => proto::ShareState::Locked,
    };
    proto::Share {
        share_id: share.id.to_string(),
        state: state.into(),
        expire_time: Some(timestamp(share.expires_at)),
        max_access_count: share.max_access_count,
        access_count: share.access_count,
        refusal_count: share.refusal_count,
        wrong_passcode_count: share.wrong_passcodes,
        last_access_time: share.last_accessed_at.map(timestamp),
        create_time: Some(timestamp(share.created_at)),
        revoke_time: share.revoked_at.map(timestamp),
    }
}

/// Converts an attempt to open a share.
pub(in crate::rpc) fn access_message(access: &ShareAccess) -> proto::ShareAccess {
    let device_type = match access.device_type {
        DeviceType::Mobile => proto::DeviceType::Mobile,
        DeviceType::Desktop => proto::DeviceType::Desktop,
        DeviceType::Unknown => proto::DeviceType::Unknown,
    };
    let outcome = match access.outcome {
        AccessOutcome::Opened => proto::ShareAccessOutcome::Opened,
        AccessOutcome::Expired => proto::ShareAccessOutcome::Expired,
        AccessOutcome::Revoked => proto::ShareAccessOutcome::Revoked,
        AccessOutcome::UsedUp => proto::ShareAccessOutcome::UsedUp,
        AccessOutcome::Locked => proto::ShareAccessOutcome::Locked,
        AccessOutcome::PasscodeMissing => proto::ShareAccessOutcome::PasscodeMissing,
        AccessOutcome::PasscodeWrong => proto::ShareAccessOutcome::PasscodeWrong,
    };
    proto::ShareAccess {
        access_time: Some(timestamp(access.accessed_at)),
        device_type: device_type.into(),
        outcome: outcome.into(),
        share_id: access.share_id.to_string(),
    }
}
