//! Time of day as a parameter: only [`Clock::system`] reads the operating system's clock, so that tests can use their
//! own.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Datelike, SubsecRound, TimeDelta, Utc};
use prost_types::Timestamp;

/// The maximum by which the clock of a client may be wrong without an effect on its calls. A time of a request that is beyond
/// its bound by no more than this is moved to the bound: the client computed it from its own clock.
pub const CLIENT_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// A source of the time of day.
///
/// Tests use one that they move. Durations are measured with [`std::time::Instant`], which clock changes do not affect.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// Returns the operating system's clock.
    #[must_use]
    pub fn system() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the only place that reads the time of day"
        )]
        Self::from_fn(Utc::now)
    }

    /// Returns a clock that shows the results of `now`.
    pub fn from_fn(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Returns the time of day in whole microseconds, the precision of Postgres, so that a stored time equals the time
    /// that was written.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)().trunc_subsecs(6)
    }
}

/// Converts a time that a client sent, and rounds it down to the microsecond, as it is stored. `None` when it is outside the
/// range of the protobuf type, which is the years 1 to 9999.
///
/// Each time of a request is converted by this function, to be stored or to filter by: so a filter with the time that a
/// client stored finds the row.
///
/// ```
/// use haven_platform::time::stored_time;
/// use prost_types::Timestamp;
///
/// let sent = Timestamp { seconds: 1, nanos: 123_456_789 };
/// assert_eq!(stored_time(&sent).unwrap().timestamp_subsec_nanos(), 123_456_000);
/// ```
#[must_use]
pub fn stored_time(time: &Timestamp) -> Option<DateTime<Utc>> {
    let nanos = u32::try_from(time.nanos)
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000)?;
    DateTime::from_timestamp(time.seconds, nanos)
        .filter(|time| (1..=9999).contains(&time.year()))
        .map(|time| time.trunc_subsecs(6))
}

/// Converts `time` into the protobuf type.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    // The value is 1,000,000,000 or more only in a leap second, which Postgres does not represent.
    let nanos = time.timestamp_subsec_nanos().min(999_999_999);
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(nanos).unwrap_or_default(),
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
