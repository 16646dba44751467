//! A rate limit: a number of calls per period.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

/// A number of calls per period, enforced by the generic cell rate algorithm (GCRA, ITU-T I.371).
///
/// `10/1m` admits ten calls at once, and then one every six seconds. After a minute without calls, ten are admitted at
/// once again.
///
/// ```
/// use std::time::Duration;
///
/// use haven_platform::rate_limit::RateLimit;
///
/// let limit: RateLimit = "10/1m".parse().unwrap();
/// assert_eq!(limit.emission(), Duration::from_secs(6));
/// assert_eq!(limit.tolerance(), Duration::from_secs(54));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    count: NonZeroU32,
    period: Duration,
}

/// The error when a rate limit cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be a number of calls per period, such as `10/1m` (s, m or h; at most 1,000,000 in at most 24 hours)"
)]
pub struct RateLimitError;

// === impl RateLimit ===

impl RateLimit {
    /// A limit of `count` calls per `period`, which must not be zero.
    #[must_use]
    pub const fn new(count: NonZeroU32, period: Duration) -> Self {
        Self { count, period }
    }

    /// The emission interval: the time between two calls at the sustained rate. 3 microseconds to a day.
    #[must_use]
    pub fn emission(self) -> Duration {
        self.period / self.count.get()
    }

    /// The tolerance: how far ahead of the sustained rate a call may be, which is one emission interval for all calls
    /// but one.
    #[must_use]
    pub fn tolerance(self) -> Duration {
        self.emission() * (self.count.get() - 1)
    }

    /// Returns the numbers of the limit, for a key of what is counted under it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        let (count, period) = bytes.split_at_mut(4);
        count.copy_from_slice(&self.count.get().to_be_bytes());
        period.copy_from_slice(&self.period.as_secs().to_be_bytes());
        bytes
    }

    fn from_text(text: &str) -> Option<Self> {
        let (count, period) = text.split_once('/')?;
        let (number, unit) = period.split_at_checked(period.len().checked_sub(1)?)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return None,
        };
        let number: u32 = number
            .parse()
            .ok()
            .filter(|number| (1..=24).contains(number) || unit != "h")?;
        let period = Duration::from_secs(u64::from(number) * seconds);
        let count: NonZeroU32 = count
            .parse()
            .ok()
            .filter(|count: &NonZeroU32| count.get() <= 1_000_000)?;
        (!period.is_zero() && period <= Duration::from_secs(24 * 3600)).then_some(Self { count, period })
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {} s", self.count, self.period.as_secs())
    }
}

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        Self::from_text(text).ok_or(RateLimitError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_period_is_a_day() {
        let limit: RateLimit = "1/24h".parse().unwrap();
        assert_eq!(
            (limit.emission(), limit.tolerance()),
            (Duration::from_secs(24 * 3600), Duration::ZERO)
        );
        assert_eq!("1/25h".parse::<RateLimit>(), Err(RateLimitError));
    }
}
