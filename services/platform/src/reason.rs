//! What belongs to each published reason: its gRPC code, its message, and whether trying again helps.

use std::time::Duration;

pub use haven_proto::errors::v1::Reason;
use tonic::Code;

/// The domain of every reason, in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "haven";

/// The name that goes over the wire: the enum's, without its prefix.
#[must_use]
pub fn name(reason: Reason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("REASON_").unwrap_or(name)
}

/// The reason of that name.
#[must_use]
pub fn from_name(name: &str) -> Option<Reason> {
    Reason::from_str_name(&format!("REASON_{name}"))
}

/// The gRPC status code that `reason` belongs to, for ever.
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
        R::CredentialsInvalid | R::TokenInvalid | R::TokenExpired | R::SessionRevoked => {
            Code::Unauthenticated
        }
        R::AccessDenied => Code::PermissionDenied,
        R::NotFound | R::ShareUnavailable => Code::NotFound,
        R::VersionConflict | R::LeaseLost => Code::Aborted,
        R::AccountNotReady
        | R::AccountErased
        | R::KeyVersionStale
        | R::CursorExpired
        | R::AuthProviderExternal
        | R::NothingToAnalyze
        | R::DeviceInactive => Code::FailedPrecondition,
        R::RateLimited | R::Overloaded | R::QuotaExceeded | R::MessageTooLarge => Code::ResourceExhausted,
        R::Deadline => Code::DeadlineExceeded,
        R::DependencyUnavailable | R::Draining => Code::Unavailable,
        R::Unspecified | R::Internal => Code::Internal,
        R::Unimplemented => Code::Unimplemented,
        R::Cancelled => Code::Cancelled,
    }
}

/// The sentence for a person who reads the error. Constant: values belong in the details.
#[must_use]
pub fn message(reason: Reason) -> &'static str {
    use Reason as R;
    match reason {
        R::InvalidField => "One or more fields are wrong; the details name each",
        R::PasswordPolicy => "The password breaks the policy; the details name each rule that it breaks",
        R::EmailInvalid => "This cannot be an email address; the details say why",
        R::ConsentRequired => "Consent to a required document is missing; the details name each",
        R::EnvelopeInvalid => "The crypto envelope cannot be right; the details say why",
        R::PageTokenInvalid => "The page token was not issued to this caller for this request",
        R::RequestIdReused => "This request id was used before with other content",
        R::EmailTaken => "An account has this email address",
        R::RecordExists => "There is something with this id",
        R::NonceReused => "This nonce was used before under this key",
        R::DeviceExists => "This device is registered",
        R::CredentialsInvalid => "The email address or the password is wrong",
        R::TokenInvalid => "A valid access token is needed; the details say what is wrong with this one",
        R::TokenExpired => "The access token has expired",
        R::SessionRevoked => "The session was ended",
        R::AccessDenied => "The caller may not call this",
        R::NotFound => "There is no such thing, or it is not the caller's",
        R::ShareUnavailable => "The share cannot be opened",
        R::VersionConflict => "It was changed since that version; read it again",
        R::LeaseLost => "The lease has passed to another worker",
        R::AccountNotReady => "The account is still being set up here; try again shortly",
        R::AccountErased => "The account was erased",
        R::KeyVersionStale => "The key version is older than the device's",
        R::AuthProviderExternal => "Another provider signs people up and in here; bring its token",
        R::NothingToAnalyze => "Every message was analysed",
        R::DeviceInactive => "The device is suspended or revoked",
        R::CursorExpired => {
            "What the caller has seen is of another history, or from before what is kept; begin again without a cursor"
        }
        R::RateLimited => "Too many calls of this kind; try again later",
        R::Overloaded => "The server has as much work as it can do; try again shortly",
        R::QuotaExceeded => "There are as many of these as a person may have; the details say how many",
        R::MessageTooLarge => {
            "The request or the answer is larger than it may be; the details say which, and how large it may be"
        }
        R::Deadline => "The deadline passed before the call was done",
        R::DependencyUnavailable => "Something that this call depends on does not answer; try again shortly",
        R::Draining => "This server is stopping; try again with another one",
        R::Unspecified | R::Internal => {
            "Something went wrong here; the request id finds the cause in the log"
        }
        R::Unimplemented => "There is no such RPC here",
        R::Cancelled => "The call was cancelled",
    }
}

/// How long to wait before trying again, when nothing better is known. None: trying again does not help.
#[must_use]
pub fn retry_after(reason: Reason) -> Option<Duration> {
    use Reason as R;
    match reason {
        R::RateLimited | R::AccountNotReady | R::DependencyUnavailable => Some(Duration::from_secs(1)),
        R::Overloaded => Some(Duration::from_millis(250)),
        R::Draining | R::Deadline => Some(Duration::from_millis(50)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The protos say each reason's code in the first word of its comment; this holds the two against each other.
    #[test]
    fn codes_are_those_that_the_protos_publish() {
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
