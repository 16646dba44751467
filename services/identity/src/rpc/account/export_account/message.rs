//! The conversion of exported rows into their messages.

use haven_platform::time::timestamp;
use haven_proto::identity::v1 as proto;

use super::super::account_message::account_message as plain_account_message;
use crate::domain::export::{
    ExportedAccount, ExportedDeviceToken, ExportedRecoveryToken, ExportedRefreshToken, ExportedSession,
};

/// Converts `exported` into its message.
pub(super) fn account_message(exported: &ExportedAccount) -> proto::ExportedAccount {
    proto::ExportedAccount {
        account: Some(plain_account_message(&exported.account)),
        password_set_time: exported.password_set_at.map(timestamp),
    }
}

/// Converts `session` into its message.
pub(super) fn session_message(session: &ExportedSession) -> proto::ExportedSession {
    let reason = session.end.as_ref().map(|(_, reason)| end_reason(reason));
    proto::ExportedSession {
        id: session.id.to_string(),
        create_time: Some(timestamp(session.began_at)),
        refresh_time: session.refreshed_at.map(timestamp),
        access_token_expire_time: Some(timestamp(session.access_expires_at)),
        expire_time: Some(timestamp(session.expires_at)),
        end_time: session.end.as_ref().map(|(at, _)| timestamp(*at)),
        end_reason: reason.unwrap_or_default().into(),
    }
}

/// Returns the reason that is stored as `name`; unspecified for the name of a newer program.
fn end_reason(name: &str) -> proto::SessionEndReason {
    let name = format!("SESSION_END_REASON_{}", name.to_uppercase());
    proto::SessionEndReason::from_str_name(&name).unwrap_or_default()
}

/// Converts `token` into its message.
pub(super) fn refresh_token_message(token: &ExportedRefreshToken) -> proto::ExportedRefreshToken {
    proto::ExportedRefreshToken {
        id: token.id.to_string(),
        session_id: token.session_id.to_string(),
        create_time: Some(timestamp(token.issued_at)),
        expire_time: Some(timestamp(token.expires_at)),
        use_time: token.used_at.map(timestamp),
    }
}

/// Converts `token` into its message.
pub(super) fn device_token_message(token: &ExportedDeviceToken) -> proto::ExportedDeviceToken {
    proto::ExportedDeviceToken {
        id: token.id.to_string(),
        create_time: Some(timestamp(token.issued_at)),
        expire_time: Some(timestamp(token.expires_at)),
    }
}

/// Converts `token` into its message.
pub(super) fn recovery_token_message(token: &ExportedRecoveryToken) -> proto::ExportedRecoveryToken {
    let kind = format!("RECOVERY_TOKEN_KIND_{}", token.kind.to_uppercase());
    let kind = proto::RecoveryTokenKind::from_str_name(&kind).unwrap_or_default();
    proto::ExportedRecoveryToken {
        id: token.id.to_string(),
        kind: kind.into(),
        email: token.email.clone().unwrap_or_default(),
        change_id: token.change_id.map(|id| id.to_string()).unwrap_or_default(),
        create_time: Some(timestamp(token.issued_at)),
        expire_time: Some(timestamp(token.expires_at)),
        open_time: token.opened_at.map(timestamp),
        use_time: token.spent_at.map(timestamp),
    }
}
