//! The error type of every failed call, and its conversion into a gRPC status with details.

use std::{borrow::Cow, collections::HashMap, error::Error, fmt, time::Duration};

use tonic::Status;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::{
    details,
    reason::{self, Reason},
};

/// The failure of a call: a published reason, details for programs, and a cause, which is logged and never sent.
///
/// ```
/// use haven_platform::{failure::Failure, reason::Reason};
///
/// let failure = Failure::new(Reason::QuotaExceeded).quota("widgets", "at most 5 widgets");
/// let status = tonic::Status::from(failure);
/// assert_eq!(status.code(), tonic::Code::ResourceExhausted);
/// ```
#[derive(Debug)]
pub struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    reason: Reason,
    violations: Vec<Violation>,
    metadata: HashMap<String, String>,
    quotas: Vec<(String, String)>,
    retry_after: Option<Duration>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The violation of one rule by one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path to the field, such as `items[1].name`. Empty when the request as a whole is wrong.
    pub field: String,
    /// The stable name of the violated rule in SCREAMING_SNAKE_CASE, for programs and forms.
    pub name: &'static str,
    /// The rule in constant English, for a person. It never contains the value that was sent.
    pub description: Cow<'static, str>,
}

// === impl Violation ===

impl Violation {
    /// Creates a violation of the rule `name` by `field`.
    pub fn new(
        field: impl Into<String>,
        name: &'static str,
        description: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            field: field.into(),
            name,
            description: description.into(),
        }
    }

    /// Returns REQUIRED: `field` has no value, or the unspecified value of its enum.
    pub fn required(field: impl Into<String>) -> Self {
        let field = field.into();
        let description = format!("{field} is required");
        Self::new(field, "REQUIRED", description)
    }

    /// Returns UNKNOWN_VALUE: `field` holds a number that is not a value of its enum.
    pub fn unknown_value(field: impl Into<String>) -> Self {
        Self::new(field, "UNKNOWN_VALUE", "The value must be one of the enum's")
    }
}

// === impl Failure ===

impl Failure {
    /// Creates a failure with `reason` and the reason's default retry delay.
    #[must_use]
    pub fn new(reason: Reason) -> Self {
        Self(Box::new(Inner {
            reason,
            violations: Vec::new(),
            metadata: HashMap::new(),
            quotas: Vec::new(),
            retry_after: reason::retry_after(reason),
            cause: None,
        }))
    }

    /// Returns INVALID_FIELD with one violation.
    pub fn field(field: impl Into<String>, name: &'static str, description: &'static str) -> Self {
        Self::violations(
            Reason::InvalidField,
            vec![Violation::new(field, name, description)],
        )
    }

    /// Returns a failure with `reason` and all violations of the request.
    #[must_use]
    pub fn violations(reason: Reason, violations: Vec<Violation>) -> Self {
        let mut failure = Self::new(reason);
        failure.0.violations = violations;
        failure
    }

    /// Returns INTERNAL, caused by `cause`.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Reason::Internal).because(cause)
    }

    /// Returns QUOTA_EXCEEDED: a person uses `used` of `limit` of `quota`, such as `share_bytes`, and the call would exceed it.
    /// All three are in the metadata, for programs.
    #[must_use]
    pub fn quota_exceeded(quota: &str, used: u64, limit: u64) -> Self {
        Self::new(Reason::QuotaExceeded)
            .metadata("quota", quota)
            .metadata("used", used.to_string())
            .metadata("limit", limit.to_string())
            .quota(quota, format!("At most {limit}, of which {used} are used"))
    }

    /// Adds a value for programs to `ErrorInfo.metadata`. It must not be private, and what is beyond 256 bytes of it is cut off.
    #[must_use]
    pub fn metadata(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0
            .metadata
            .insert(key.to_owned(), details::bounded(value.into()));
        self
    }

    /// Adds a list for programs to `ErrorInfo.metadata`, separated by commas: as many of `values` as fit in 512 bytes, and the
    /// number of the others under `<key>_omitted`.
    #[must_use]
    pub fn metadata_list<'a>(mut self, key: &'static str, values: impl IntoIterator<Item = &'a str>) -> Self {
        details::add_list(&mut self.0.metadata, key, values);
        self
    }

    /// Adds the limit that was reached to `QuotaFailure`.
    #[must_use]
    pub fn quota(mut self, subject: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.quotas.push((subject.into(), description.into()));
        self
    }

    /// Sets the delay after which a retry may succeed (`RetryInfo`).
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Adds the cause, which is logged when the failure is converted into a status. Its text must not contain private
    /// data.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Returns the published reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// Returns the field violations; empty when the failure is not about the request's fields.
    #[must_use]
    pub fn all_violations(&self) -> &[Violation] {
        &self.0.violations
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(reason::name(self.0.reason))
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as _)
    }
}

impl From<Failure> for Status {
    /// Logs the cause once, inside the request's span, and converts everything but the cause into a status: the caller
    /// never sees the cause.
    fn from(failure: Failure) -> Self {
        let Inner {
            reason,
            violations,
            metadata,
            quotas,
            retry_after,
            cause,
        } = *failure.0;
        if let Some(cause) = cause {
            log_cause(reason, &*cause);
        }
        let (code, message) = (reason::code(reason), reason::message(reason));
        let mut details = ErrorDetails::new();
        if let Some(delay) = retry_after {
            details.set_retry_info(Some(delay));
        }
        for (subject, description) in quotas {
            details.add_quota_failure_violation(subject, description);
        }
        details.set_error_info(reason::name(reason), reason::DOMAIN, metadata.clone());
        if !violations.is_empty() {
            let used = Self::with_error_details(code, message, details.clone())
                .details()
                .len();
            let (violations, omitted) =
                details::fitting(violations.into_iter().map(FieldViolation::from), used);
            if !violations.is_empty() {
                details.set_bad_request(violations);
            }
            if omitted > 0 {
                let mut metadata = metadata;
                metadata.insert(details::VIOLATIONS_OMITTED.to_owned(), omitted.to_string());
                details.set_error_info(reason::name(reason), reason::DOMAIN, metadata);
            }
        }
        Self::with_error_details(code, message, details)
    }
}

impl From<Violation> for FieldViolation {
    fn from(violation: Violation) -> Self {
        Self {
            reason: violation.name.to_owned(),
            ..Self::new(violation.field, violation.description)
        }
    }
}

fn log_cause(reason: Reason, cause: &(dyn Error + Send + Sync)) {
    let mut text = cause.to_string();
    let mut next = cause.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    if reason == Reason::Internal {
        tracing::error!(reason = reason::name(reason), cause = text, "call failed");
    } else {
        tracing::warn!(reason = reason::name(reason), cause = text, "call failed");
    }
}

#[cfg(test)]
mod tests;
