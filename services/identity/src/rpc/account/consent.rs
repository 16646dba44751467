//! The conversion of consents and their errors, and the audit events of GrantConsent and WithdrawConsent.

use haven_platform::{
    call::Call,
    failure::{Failure, Violation},
    reason::Reason,
    time::timestamp,
};
use haven_proto::identity::v1 as proto;

use super::AccountRpc;
use crate::{
    domain::{
        audit::{AuditEventType, NewAuditEvent, Origin},
        consent::ConsentEntry,
        quota::Quotas,
    },
    store::account::ConsentError,
};

impl AccountRpc {
    /// The audit event for a call that grants or withdraws a consent.
    pub(super) fn consent_event<'a>(
        &self,
        call: &Call,
        event: AuditEventType,
        origin: &'a Origin,
    ) -> NewAuditEvent<'a> {
        NewAuditEvent {
            event,
            refused: false,
            origin,
            session_id: call.caller.user.and_then(|user| user.own_session()),
            at: self.clock.now(),
        }
    }
}

/// Converts `entry` into its message.
pub(super) fn consent_message(entry: &ConsentEntry) -> proto::Consent {
    proto::Consent {
        id: entry.id.to_string(),
        document: entry.consent.document().to_owned(),
        document_version: entry.consent.version().to_owned(),
        grant_time: Some(timestamp(entry.granted_at)),
        withdraw_time: entry.withdrawn_at.map(timestamp),
    }
}

/// The violation of a consent to a version that does not exist.
pub(super) fn unknown_version(field: impl Into<String>) -> Violation {
    let description = "The version must be one that GetConsentRequirements lists";
    Violation::new(field, "VERSION_UNKNOWN", description)
}

impl From<ConsentError> for Failure {
    fn from(error: ConsentError) -> Self {
        match error {
            ConsentError::NotFound => Self::new(Reason::NotFound),
            ConsentError::Erased => Self::new(Reason::AccountErased),
            ConsentError::VersionUnknown => Self::violations(
                Reason::InvalidField,
                vec![unknown_version("consent.document_version")],
            ),
            ConsentError::TooMany { used, limit } => {
                Self::quota_exceeded(Quotas::CONSENTS, used.unsigned_abs(), limit.unsigned_abs().into())
            }
            ConsentError::Limited(error) => error.into(),
            ConsentError::RequestIdReused => Self::new(Reason::RequestIdReused),
            ConsentError::Database(error) => error.into(),
        }
    }
}
