//! The clock is a parameter: nothing asks the operating system for the time of day but [`Clock::system`].

use std::{fmt, sync::Arc};

use chrono::{DateTime, SubsecRound, Utc};
use prost_types::Timestamp;

/// Tells the time of day.
///
/// Tests pass one that they move. Durations are measured with [`std::time::Instant`], which no clock change disturbs.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The operating system's clock.
    #[must_use]
    pub fn system() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where the time of day comes from"
        )]
        Self::from_fn(Utc::now)
    }

    /// A clock that shows what `now` returns.
    pub fn from_fn(now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time of day, in whole microseconds: as finely as Postgres keeps it, so that a time reads back as it was
    /// written.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)().trunc_subsecs(6)
    }
}

/// `time` as it goes over the wire.
#[must_use]
pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    // Below 1,000,000,000 but in a leap second, which Postgres does not know.
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
