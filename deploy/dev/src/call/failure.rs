//! Failures of the command, and their exit codes.

use std::{error::Error, fmt, iter, process::ExitCode};

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The exit code of a call that failed with code `n` is this plus `n`. grpcurl does the same.
const FAILED_CALL: u8 = 64;

/// The exit code of a wrong command line, as in clap.
const USAGE: u8 = 2;

/// The exit codes, for `--help`.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0       the call succeeded
  1       no call was made, for example because Haven is not running
  2       a wrong argument, an unknown name, or JSON that does not fit the request
  64 + n  the call failed with the gRPC code n:
          67 INVALID_ARGUMENT     68 DEADLINE_EXCEEDED    69 NOT_FOUND
          70 ALREADY_EXISTS       71 PERMISSION_DENIED    72 RESOURCE_EXHAUSTED
          73 FAILED_PRECONDITION  74 ABORTED              77 INTERNAL
          78 UNAVAILABLE          80 UNAUTHENTICATED";

/// A mistake in the command line.
#[derive(Debug)]
pub(crate) struct Usage(String);

/// A call that failed.
#[derive(Debug)]
pub(crate) struct FailedCall {
    /// The name of the RPC.
    pub(crate) rpc: String,
    /// The status.
    pub(crate) status: Status,
}

/// Returns the exit code of the program after `problem`.
pub(crate) fn exit_code(problem: &anyhow::Error) -> ExitCode {
    if let Some(failed) = problem.downcast_ref::<FailedCall>() {
        return ExitCode::from(
            FAILED_CALL.saturating_add(u8::try_from(i32::from(failed.status.code())).unwrap_or(2)),
        );
    }
    match problem.downcast_ref::<Usage>() {
        Some(_) => ExitCode::from(USAGE),
        None => ExitCode::FAILURE,
    }
}

impl Usage {
    /// Returns a mistake as an error.
    pub(crate) fn error(message: impl Into<String>) -> anyhow::Error {
        Self(message.into()).into()
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Usage {}

impl Error for FailedCall {}

impl FailedCall {
    /// Returns the reason of the failure, if the service has stated one.
    pub(crate) fn reason(&self) -> Option<String> {
        let info = self.status.get_details_error_info();
        info.map(|info| info.reason).filter(|reason| !reason.is_empty())
    }
}

impl fmt::Display for FailedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rpc, status } = self;
        write!(f, "{rpc}: {}: {}", code_name(status.code()), status.message())?;
        // A failure of the connection: only the innermost error says what went wrong.
        let innermost = iter::successors(status.source(), |&error| error.source()).last();
        if let Some(cause) = innermost {
            write!(f, ": {cause}")?;
        }
        let details = status.get_error_details();
        if let Some(info) = details.error_info() {
            write!(f, "\n  reason      {}", info.reason)?;
            let mut metadata: Vec<_> = info.metadata.iter().collect();
            metadata.sort();
            for (name, value) in metadata {
                write!(f, "\n  {name:<11} {value}")?;
            }
        }
        for violation in details.bad_request().iter().flat_map(|bad| &bad.field_violations) {
            write!(
                f,
                "\n  field       {}: {}: {}",
                violation.field, violation.reason, violation.description
            )?;
        }
        for violation in details.quota_failure().iter().flat_map(|quota| &quota.violations) {
            write!(
                f,
                "\n  quota       {}: {}",
                violation.subject, violation.description
            )?;
        }
        if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
            write!(f, "\n  retry after {delay:?}")?;
        }
        if let Some(info) = details.request_info() {
            write!(f, "\n  request id  {}", info.request_id)?;
        }
        Ok(())
    }
}

/// Returns the name of a code as the documentation of gRPC writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
