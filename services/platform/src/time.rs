//! Time of day as a parameter: only [`Clock::system`] reads the operating system's clock, so that tests can use their
//! own.

use std::{fmt, sync::Arc};

use chrono::{DateTime, SubsecRound, Utc};
use prost_types::Timestamp;

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
