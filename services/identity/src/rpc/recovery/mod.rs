//! `haven.identity.v1.RecoveryService`.

mod confirm_email_change;
mod create_email_change;
mod create_email_verification;
mod create_password_reset;
mod failure;
mod found;
mod reset_password;
mod token;
mod undo_email_change;
mod verify_email;

use std::sync::Arc;

use haven_platform::{auth::EndedSessions, entropy::Entropy, grpc_service, mac::MacKeys, time::Clock};
use haven_proto::identity::v1::{
    ConfirmEmailChangeRequest, ConfirmEmailChangeResponse, CreateEmailChangeRequest,
    CreateEmailChangeResponse, CreateEmailVerificationRequest, CreateEmailVerificationResponse,
    CreatePasswordResetRequest, CreatePasswordResetResponse, ResetPasswordRequest, ResetPasswordResponse,
    UndoEmailChangeRequest, UndoEmailChangeResponse, VerifyEmailRequest, VerifyEmailResponse,
    recovery_service_server::RecoveryService,
};

use super::{audit_origin::AuditOrigins, rate_limit_keys::RateLimitKeys};
use crate::{
    domain::{
        provider::AuthProvider,
        rate_limit::RateLimits,
        recovery::{Lifetimes, RecoveryKind},
    },
    estimator::EstimatorQueue,
    hashing::Passwords,
    store::{account::OwnPasswords, recovery::Recovery},
};

/// The state of `RecoveryService`.
#[derive(Debug)]
pub struct RecoveryRpc {
    /// The recovery tokens of all people.
    pub recovery: Recovery,
    /// Counts wrong passwords.
    pub own_passwords: OwnPasswords,
    /// Hashes and checks passwords.
    pub passwords: Passwords,
    /// Estimates how guessable passwords are.
    pub estimator: EstimatorQueue,
    /// The provider that signs people in.
    pub provider: AuthProvider,
    /// The lifetimes of tokens.
    pub lifetimes: Lifetimes,
    /// The rate limits of the RPCs that create tokens.
    pub creation_limits: RateLimits,
    /// The rate limits of the RPCs that use tokens.
    pub use_limits: RateLimits,
    /// Derives the keys under which limits are counted.
    pub rate_limit_keys: RateLimitKeys,
    /// The ended sessions. Calls with their access tokens are refused.
    pub ended_sessions: Arc<EndedSessions>,
    /// The key of the hashes by which retries are recognized.
    pub request_mac: MacKeys,
    /// The keys from which tokens are derived.
    pub keys: MacKeys,
    /// The keys from which device tokens are derived.
    pub device_keys: MacKeys,
    /// The maximum number of device tokens of an account.
    pub max_devices: i32,
    /// Derives the origins that the audit log stores.
    pub audit_origins: AuditOrigins,
    /// The clock of all times that are stored.
    pub clock: Clock,
    /// The random source of ids.
    pub entropy: Entropy,
}

grpc_service! {
    impl RecoveryService for RecoveryRpc {
        rpc create_password_reset(CreatePasswordResetRequest) -> CreatePasswordResetResponse;
        rpc reset_password(ResetPasswordRequest) -> ResetPasswordResponse;
        rpc create_email_verification(CreateEmailVerificationRequest) -> CreateEmailVerificationResponse;
        rpc verify_email(VerifyEmailRequest) -> VerifyEmailResponse;
        rpc create_email_change(CreateEmailChangeRequest) -> CreateEmailChangeResponse;
        rpc confirm_email_change(ConfirmEmailChangeRequest) -> ConfirmEmailChangeResponse;
        rpc undo_email_change(UndoEmailChangeRequest) -> UndoEmailChangeResponse;
    }
}

/// Counts a token that was created, used or refused.
fn count(kind: RecoveryKind, outcome: &'static str) {
    metrics::counter!("haven_recovery_tokens_total", "kind" => kind.name(), "outcome" => outcome)
        .increment(1);
}

/// Describes the metrics of this service for scrapers.
pub fn describe_metrics() {
    metrics::describe_counter!(
        "haven_recovery_tokens_total",
        metrics::Unit::Count,
        "Recovery tokens by kind and outcome: created, unknown_address, used, refused"
    );
    for kind in RecoveryKind::ALL {
        for outcome in ["created", "used", "refused"] {
            metrics::counter!("haven_recovery_tokens_total", "kind" => kind.name(), "outcome" => outcome)
                .absolute(0);
        }
    }
    let kind = RecoveryKind::PasswordReset.name();
    metrics::counter!("haven_recovery_tokens_total", "kind" => kind, "outcome" => "unknown_address")
        .absolute(0);
}
