//! The one type that every failed call ends in, and the status that it becomes.

use std::{borrow::Cow, collections::HashMap, error::Error, fmt, time::Duration};

use tonic::Status;
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::reason::{self, Reason};

/// Why a call failed: a published reason, what a program needs to know about it, and the cause, which is logged and
/// never sent.
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

/// One thing that is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path to the field, such as `consents[1].document`.
    pub field: String,
    /// A stable name in SCREAMING_SNAKE_CASE, for programs and forms.
    pub name: &'static str,
    /// The same for a person, in constant English: never the value that was sent.
    pub description: Cow<'static, str>,
}

/// At most how many violations a status tells. It travels in a header, and a client that gets one of more than 16 KiB
/// closes the connection, with every other call on it.
const MAX_VIOLATIONS: usize = 50;

// === impl Violation ===

impl Violation {
    /// One thing that is wrong.
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

    /// REQUIRED: `field` has no value, or its enum's unspecified one.
    pub fn required(field: impl Into<String>) -> Self {
        let field = field.into();
        let description = format!("{field} is required");
        Self::new(field, "REQUIRED", description)
    }

    /// UNKNOWN_VALUE: `field` holds a number that is no value of its enum.
    pub fn unknown_value(field: impl Into<String>) -> Self {
        let field = field.into();
        let description = format!("{field} must be one of the enum's values");
        Self::new(field, "UNKNOWN_VALUE", description)
    }
}

// === impl Failure ===

impl Failure {
    /// A failure for `reason`.
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

    /// INVALID_FIELD for one field.
    pub fn field(field: impl Into<String>, name: &'static str, description: &'static str) -> Self {
        Self::violations(
            Reason::InvalidField,
            vec![Violation::new(field, name, description)],
        )
    }

    /// A failure for `reason` with everything that is wrong.
    #[must_use]
    pub fn violations(reason: Reason, violations: Vec<Violation>) -> Self {
        let mut failure = Self::new(reason);
        failure.0.violations = violations;
        failure
    }

    /// INTERNAL, because of `cause`.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(Reason::Internal).because(cause)
    }

    /// Adds a value for programs, in `ErrorInfo.metadata`. Never anything private.
    #[must_use]
    pub fn metadata(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.0.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a limit that was reached, in `QuotaFailure`.
    #[must_use]
    pub fn quota(mut self, subject: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.quotas.push((subject.into(), description.into()));
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Adds the cause, which is logged when the failure becomes a status. Its text must hold nothing private.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The reason.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// Everything that is wrong with the request, where it is about that.
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
    /// Logs the cause, once, inside the request's span, and leaves it out of the status.
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
        let mut details = ErrorDetails::new();
        details.set_error_info(reason::name(reason), reason::DOMAIN, metadata);
        if let Some(delay) = retry_after {
            details.set_retry_info(Some(delay));
        }
        if !violations.is_empty() {
            details.set_bad_request(
                violations
                    .into_iter()
                    .take(MAX_VIOLATIONS)
                    .map(FieldViolation::from)
                    .collect::<Vec<_>>(),
            );
        }
        for (subject, description) in quotas {
            details.add_quota_failure_violation(subject, description);
        }
        Self::with_error_details(reason::code(reason), reason::message(reason), details)
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
