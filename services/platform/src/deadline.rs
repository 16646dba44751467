//! Deadlines: the time by which a call must be answered.

use std::time::Duration;

use tokio::time::Instant;

use crate::{failure::Failure, reason::Reason};

/// The time by which a call, and all work done for it, must be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// Returns the deadline `duration` from now.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// Returns the remaining time; zero when the deadline has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns the deadline as an [`Instant`].
    #[must_use]
    pub fn instant(self) -> Instant {
        self.0
    }

    /// Returns the sooner of this deadline and `duration` from now: for a step that must not use all of the call's
    /// time.
    #[must_use]
    pub fn at_most(self, duration: Duration) -> Self {
        self.min(Self::after(duration))
    }

    /// Converts the failure of a step that had a sooner deadline of its own ([`Deadline::at_most`]).
    ///
    /// DEADLINE becomes DEPENDENCY_UNAVAILABLE while the call itself still has time. Every other failure is returned as
    /// is.
    #[must_use]
    pub fn attribute_timeout(self, failure: Failure) -> Failure {
        if failure.reason() == Reason::Deadline && !self.remaining().is_zero() {
            // Only the step's own deadline has passed: the dependency that it waited for does not answer.
            return Failure::new(Reason::DependencyUnavailable).because(failure);
        }
        failure
    }
}

/// The longest time for a call with a single response. A longer deadline of the caller is shortened to this, so that no
/// call holds a permit for too long.
pub(crate) const MAX_CALL: Duration = Duration::from_secs(60);

/// The longest time for a stream that stays open, and the time for one without a deadline. The caller then opens a new
/// one, with a current token.
pub(crate) const MAX_WATCH: Duration = Duration::from_secs(60 * 60);

/// The longest time for a stream that ends by itself, and the time for one without a deadline. 100,000 rows take
/// seconds, or minutes over a slow line; a client that has not read them by then holds a permit that others need.
pub(crate) const MAX_STREAM: Duration = Duration::from_secs(10 * 60);

/// Parses the header `grpc-timeout`: up to eight digits and a unit (gRPC over HTTP/2, section "Requests"). `None` when
/// it is malformed.
pub(crate) fn parse_grpc_timeout(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    let timeout = match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    };
    Some(timeout)
}

/// Returns `timeout` minus a reserve of a twentieth of it, at least 2 and at most 20 milliseconds.
///
/// The reserve lets our own response, with its details, reach the caller before the caller's timer fires, and before
/// tonic's own, which would answer CANCELLED.
pub(crate) fn minus_reserve(timeout: Duration) -> Duration {
    let kept = (timeout / 20).clamp(Duration::from_millis(2), Duration::from_millis(20));
    timeout.saturating_sub(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        assert_eq!(parse_grpc_timeout("9S"), Some(Duration::from_secs(9)));
        assert_eq!(parse_grpc_timeout("2M"), Some(Duration::from_secs(120)));
        let longest = Duration::from_secs(99_999_999 * 3600);
        assert_eq!(parse_grpc_timeout("99999999H"), Some(longest));
        assert_eq!(parse_grpc_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(
            parse_grpc_timeout("99999999n"),
            Some(Duration::from_nanos(99_999_999))
        );
        for wrong in [
            "",
            "S",
            "1",
            "1s",
            "-1S",
            "+1S",
            "123456789S",
            "1.5S",
            "1é",
            " 1S",
        ] {
            assert_eq!(parse_grpc_timeout(wrong), None, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_step_that_exceeds_its_own_deadline_is_an_unavailable_dependency() {
        let (call, over) = (
            Deadline::after(Duration::from_secs(60)),
            Deadline::after(Duration::ZERO),
        );
        for (deadline, failed, expected) in [
            (call, Reason::Deadline, Reason::DependencyUnavailable),
            (over, Reason::Deadline, Reason::Deadline),
            (call, Reason::NotFound, Reason::NotFound),
        ] {
            assert_eq!(
                deadline.attribute_timeout(Failure::new(failed)).reason(),
                expected
            );
        }
    }

    #[test]
    fn a_twentieth_of_the_timeout_is_kept_as_reserve() {
        assert_eq!(
            minus_reserve(Duration::from_secs(10)),
            Duration::from_millis(9_980)
        );
        assert_eq!(
            minus_reserve(Duration::from_millis(100)),
            Duration::from_millis(95)
        );
        assert_eq!(minus_reserve(Duration::from_millis(10)), Duration::from_millis(8));
        assert_eq!(minus_reserve(Duration::from_millis(1)), Duration::ZERO);
    }
}
