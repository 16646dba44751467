//! When a call has to be answered.

use std::time::Duration;

use tokio::time::Instant;

use crate::{failure::Failure, reason::Reason};

/// The moment by which a call has to be answered, and with it everything that is done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// `duration` from now.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// What is left; zero when it has passed.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The moment itself.
    #[must_use]
    pub fn instant(self) -> Instant {
        self.0
    }

    /// The sooner of this one and `duration` from now: for a part of a call that must not take all of its time.
    #[must_use]
    pub fn at_most(self, duration: Duration) -> Self {
        self.min(Self::after(duration))
    }

    /// Why a part of a call failed, which had a time of its own within this one ([`Deadline::at_most`]).
    #[must_use]
    pub fn attribute_timeout(self, failure: Failure) -> Failure {
        if failure.reason() == Reason::Deadline && !self.remaining().is_zero() {
            // The part's own time was over, and not the call's: what it waited for does not answer.
            return Failure::new(Reason::DependencyUnavailable).because(failure);
        }
        failure
    }
}

/// A caller may wait for longer, and is answered by then: a place among the calls under way is not for anybody to keep.
pub(crate) const MAX_CALL: Duration = Duration::from_secs(60);

/// A stream that goes on ends after this long, so that its caller shows anew who they are. One without a deadline of its own
/// has this one.
pub(crate) const MAX_WATCH: Duration = Duration::from_secs(60 * 60);

/// A stream that ends by itself ends by then, and one without a deadline of its own has this one: a hundred thousand rows
/// take seconds, minutes over a slow line, and who has not read them by then keeps a place from others.
pub(crate) const MAX_STREAM: Duration = Duration::from_secs(10 * 60);

/// Parses the header `grpc-timeout`: up to eight digits and a unit (gRPC over HTTP/2, section "Requests").
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

/// `timeout` less what this hop keeps for itself: a twentieth, at least 2 and at most 20 milliseconds.
///
/// Our own answer, with its details, has to be out before the caller's clock runs down (and before tonic's own timer,
/// which would answer CANCELLED).
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
    async fn a_part_that_took_too_long_is_not_the_calls_fault() {
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
    fn a_hop_keeps_a_little_time_for_itself() {
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
