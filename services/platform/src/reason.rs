//! The published failure reasons, each with its gRPC code, its message and its default retry delay.
//!
//! The reasons themselves are declared in `haven/errors/v1` in the protos, those of the services included: this table
//! is part of that contract.

use std::time::Duration;

pub use haven_proto::errors::v1::Reason;
use tonic::Code;

/// The value of `google.rpc.ErrorInfo.domain` of every failure.
pub const DOMAIN: &str = "haven";

/// The status codes that the published service config makes callers retry: of failures that a retry can help. Failures with
/// these codes that it does not help forbid it.
pub const RETRIED: [Code; 3] = [Code::Unavailable, Code::ResourceExhausted, Code::DeadlineExceeded];

/// Returns the reason's name in responses: that of the enum value, without its prefix.
#[must_use]
pub fn name(reason: Reason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("REASON_").unwrap_or(name)
}

/// Returns the reason with this name; `None` when there is none.
#[must_use]
pub fn from_name(name: &str) -> Option<Reason> {
    Reason::from_str_name(&format!("REASON_{name}"))
}

/// Returns the gRPC status code of `reason`. It never changes.
#[must_use]
pub fn code(reason: Reason) -> Code {
    use Reason as R;
    match reason {
        R::InvalidField
        | R::PasswordPolicy
        | R::EmailInvalid
        | R::ConsentRequired
        | R::EnvelopeInvalid
        | R::PageTokenInvalid
        | R::RequestIdReused => Code::InvalidArgument,
        R::EmailTaken | R::RecordExists | R::NonceReused | R::DeviceExists => Code::AlreadyExists,
        R::CredentialsInvalid
        | R::TokenInvalid
        | R::TokenExpired
        | R::SessionRevoked
        | R::RecoveryTokenInvalid => Code::Unauthenticated,
        R::AccessDenied => Code::PermissionDenied,
        R::NotFound | R::ShareUnavailable => Code::NotFound,
        R::VersionConflict | R::LeaseLost => Code::Aborted,
        R::AccountNotReady
        | R::AccountErased
        | R::AccountLocked
        | R::ConsentOutdated
        | R::KeyVersionStale
        | R::CursorExpired
        | R::AuthProviderExternal
        | R::EmailNotVerified
        | R::NothingToAnalyze
        | R::DeviceInactive => Code::FailedPrecondition,
        R::RateLimited | R::Overloaded | R::QuotaExceeded | R::MessageTooLarge | R::TooManyCalls => {
            Code::ResourceExhausted
        }
        R::Deadline | R::ClientTooSlow => Code::DeadlineExceeded,
        R::DependencyUnavailable | R::Draining => Code::Unavailable,
        R::Unspecified | R::Internal => Code::Internal,
        R::Unimplemented | R::EncodingUnsupported => Code::Unimplemented,
        R::Cancelled => Code::Cancelled,
    }
}

/// Returns the message for a person who reads the error. It is constant: values are in the details.
#[must_use]
pub fn message(reason: Reason) -> &'static str {
    use Reason as R;
    match reason {
        R::InvalidField => "One or more fields are invalid; the details list them",
        R::PasswordPolicy => "The password violates the policy; the details list the violated rules",
        R::EmailInvalid => "The email address is invalid; the details say why",
        R::ConsentRequired => "Consent to a required document is missing; the details list the documents",
        R::EnvelopeInvalid => "The encryption envelope is invalid; the details say why",
        R::PageTokenInvalid => "The page token was not issued to this caller for this request",
        R::RequestIdReused => "The request id was already used with a different request",
        R::EmailTaken => "An account with this email address already exists",
        R::RecordExists => "A record with this id already exists",
        R::NonceReused => "The nonce was already used with this key",
        R::DeviceExists => "The device is already registered, or its id is used; the details name the device",
        R::CredentialsInvalid => "The email address or the password is wrong",
        R::TokenInvalid => "A valid access token is required; the details say what is wrong",
        R::TokenExpired => "The access token has expired",
        R::SessionRevoked => "The session has ended",
        R::RecoveryTokenInvalid => {
            "The recovery token is unknown, expired, used or ended; request another one"
        }
        R::AccessDenied => "The caller is not allowed to call this RPC",
        R::NotFound => "Not found, or not owned by the caller",
        R::ShareUnavailable => "The share cannot be opened",
        R::VersionConflict => "The resource was changed since that version; read it again",
        R::LeaseLost => "The lease has passed to another worker",
        R::AccountNotReady => "The account is still being set up; try again shortly",
        R::AccountErased => "The account was erased",
        R::AccountLocked => {
            "The account is locked, because its data has no account; an operator must resolve this"
        }
        R::ConsentOutdated => {
            "Consents to required documents are missing: call GrantConsent for each, and then RefreshSession"
        }
        R::KeyVersionStale => "The key version is older than the device's",
        R::AuthProviderExternal => {
            "Accounts are managed by an external provider; sign in there and send its token"
        }
        R::EmailNotVerified => {
            "The email address is not verified; open the link in the mail, or request another one"
        }
        R::NothingToAnalyze => "There are no new messages to analyze",
        R::DeviceInactive => "The device is suspended or revoked",
        R::CursorExpired => {
            "The cursor has expired, or belongs to another history; start again without a cursor"
        }
        R::RateLimited => "Too many calls of this kind; try again later",
        R::Overloaded => "The server is overloaded; try again shortly",
        R::QuotaExceeded => "The quota is used up; the details state the limit",
        R::MessageTooLarge => {
            "The request or the response is too large; the details state which one, and the limit"
        }
        R::TooManyCalls => {
            "Too many calls in progress from this network, connection, service or user; wait for one to end"
        }
        R::Deadline => "The deadline passed before the call was finished",
        R::ClientTooSlow => "The client did not send the request, or did not read the answer, in time",
        R::DependencyUnavailable => "A dependency of this call does not answer; try again shortly",
        R::Draining => "The server is stopping; try another one",
        R::Unspecified | R::Internal => "Internal error; the server's log has the cause under the request id",
        R::Unimplemented => "The server does not have this RPC",
        R::EncodingUnsupported => {
            "The server cannot read the compression in the header grpc-encoding; the details list those that it can"
        }
        R::Cancelled => "The call was cancelled",
    }
}

/// Returns the reason for a caller that the database reports as locked.
pub(crate) fn locked() -> Reason {
    Reason::AccountLocked
}

/// Returns the reason for a user whose token states requirements that the user does not meet.
pub(crate) fn unmet() -> Reason {
    Reason::ConsentOutdated
}

/// Returns the default delay before a retry. `None` when a retry does not help.
#[must_use]
pub fn retry_after(reason: Reason) -> Option<Duration> {
    use Reason as R;
    match reason {
        R::RateLimited | R::AccountNotReady | R::DependencyUnavailable | R::ClientTooSlow => {
            Some(Duration::from_secs(1))
        }
        R::Overloaded | R::TooManyCalls => Some(Duration::from_millis(250)),
        R::Draining | R::Deadline => Some(Duration::from_millis(50)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first word of each reason's proto comment is its code; this test compares it with [`code`].
    #[test]
    fn codes_are_those_in_the_proto_comments() {
        let pool = prost_reflect::DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
        let reasons = pool.get_enum_by_name("haven.errors.v1.Reason").unwrap();
        let file = reasons.parent_file();
        let info = file.file_descriptor_proto().source_code_info.as_ref().unwrap();
        for value in reasons.values().filter(|value| value.number() != 0) {
            let comment = info
                .location
                .iter()
                .find(|location| location.path == value.path())
                .unwrap();
            let published = comment.leading_comments().trim().split('.').next().unwrap();
            let reason = Reason::try_from(value.number()).unwrap();
            let ours = format!("{:?}", code(reason));
            assert_eq!(
                published.replace('_', "").to_lowercase(),
                ours.to_lowercase(),
                "{}",
                value.name()
            );
        }
    }
}
