//! Pushback: the time after which gRPC libraries retry a failed call, or that they must not (gRFC A6).

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tonic::Status;
use tonic_types::StatusExt;

use crate::{deadline::Deadline, reason::RETRIED};

/// The trailer.
pub(super) const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Forbids a retry.
const NEVER: HeaderValue = HeaderValue::from_static("-1");

/// The longest pause that is left to a library. A caller that is told to come back later than that has to know, and cannot
/// while the library waits.
const LONGEST: Duration = Duration::from_secs(5);

/// Returns the pushback for a failed call with this deadline of its caller: the delay of its RetryInfo, or that it must not
/// be retried. `None` for the codes that no caller retries, because a negative value would also count against the caller's
/// limit of retries.
///
/// A retry that would begin after the deadline is forbidden: the library would wait, and report that the deadline passed
/// instead of this failure.
pub(super) fn pushback(status: &Status, deadline: Option<Deadline>) -> Option<HeaderValue> {
    if !RETRIED.contains(&status.code()) {
        return None;
    }
    let delay = status
        .get_details_retry_info()
        .and_then(|info| info.retry_delay)
        .filter(|delay| *delay <= LONGEST)
        .filter(|delay| deadline.is_none_or(|deadline| *delay < deadline.remaining()));
    Some(delay.map_or(NEVER, |delay| {
        // Rounded up: a retry must not come sooner than the delay.
        HeaderValue::from(u64::from(delay.subsec_nanos().div_ceil(1_000_000)) + delay.as_secs() * 1000)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{failure::Failure, reason::Reason};

    fn of(reason: Reason, deadline: Option<Duration>) -> Option<String> {
        let value = pushback(&Failure::new(reason).into(), deadline.map(Deadline::after));
        value.map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_failure_that_a_retry_can_help_has_the_delay_of_its_retry_info() {
        for (reason, expected) in [
            (Reason::DependencyUnavailable, Some("1000")),
            (Reason::Draining, Some("50")),
            (Reason::Overloaded, Some("250")),
            (Reason::RateLimited, Some("1000")),
            (Reason::Deadline, Some("50")),
            (Reason::QuotaExceeded, Some("-1")),
            (Reason::MessageTooLarge, Some("-1")),
            (Reason::InvalidField, None),
            (Reason::NotFound, None),
            (Reason::TokenExpired, None),
            (Reason::Internal, None),
        ] {
            assert_eq!(of(reason, None).as_deref(), expected, "{reason:?}");
            let deadline = Some(Duration::from_secs(60));
            assert_eq!(of(reason, deadline).as_deref(), expected, "{reason:?}");
        }
    }

    #[test]
    fn a_delay_beyond_the_deadline_forbids_a_retry() {
        for (deadline, expected) in [
            (Duration::from_millis(1500), "1000"),
            (Duration::from_millis(500), "-1"),
        ] {
            let pushback = of(Reason::DependencyUnavailable, Some(deadline));
            assert_eq!(pushback.as_deref(), Some(expected), "{deadline:?}");
        }
    }

    #[test]
    fn a_long_delay_is_left_to_the_caller_and_a_fraction_is_rounded_up() {
        for (delay, expected) in [
            (Duration::from_secs(5), "5000"),
            (Duration::from_millis(5001), "-1"),
            (Duration::from_micros(1001), "2"),
        ] {
            let status = Failure::new(Reason::RateLimited).retry_after(delay).into();
            assert_eq!(pushback(&status, None).unwrap(), expected, "{delay:?}");
        }
    }
}
