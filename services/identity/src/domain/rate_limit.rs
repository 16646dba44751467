//! How often somebody may try, and from where.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

/// So many calls in so much time, by the generic cell rate algorithm (GCRA, ITU-T I.371): `10/1m` lets ten through at
/// once, and then one every six seconds. Whoever waits a whole minute may have ten at once again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    count: NonZeroU32,
    period: Duration,
}

/// What a limit is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// The client's network.
    Network,
    /// The email address, whether it has an account or not.
    Email,
    /// The service that calls for somebody.
    Service,
    /// The account's wrong passwords in a row.
    Failures,
}

/// The limits of one RPC. None: that one is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// For each network.
    pub network: Option<RateLimit>,
    /// For each email address.
    pub email: Option<RateLimit>,
    /// For each calling service.
    pub service: Option<RateLimit>,
}

/// One limit that a call falls under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// What the limit is about.
    pub kind: LimitKind,
    /// Which one of them: a keyed hash.
    pub key: [u8; 32],
    /// How often.
    pub limit: RateLimit,
}

/// Why a text says no limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateLimitsError {
    /// An item is not a limit.
    #[error(
        "each item has to be `network`, `email` or `service` with a limit such as `10/1m` (s, m or h), or `off`"
    )]
    Item,
    /// A limit is there twice.
    #[error("has a limit twice")]
    Twice,
    /// A limit is not there at all.
    #[error("has to say all three: network, email and service; `off` switches one off")]
    Missing,
}

// === impl RateLimit ===

impl RateLimit {
    /// The time between two calls when they come evenly: 3 microseconds to a day.
    #[must_use]
    pub fn emission(self) -> Duration {
        self.period / self.count.get()
    }

    /// How far ahead of its time a call may come: all but one of the calls.
    #[must_use]
    pub fn tolerance(self) -> Duration {
        self.emission() * (self.count.get() - 1)
    }

    fn parse(text: &str) -> Option<Self> {
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

// === impl LimitKind ===

impl LimitKind {
    /// What an answer calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Email => "email",
            Self::Service => "service",
            Self::Failures => "failures",
        }
    }
}

// === impl RateLimits ===

impl FromStr for RateLimits {
    type Err = RateLimitsError;

    fn from_str(text: &str) -> Result<Self, RateLimitsError> {
        let (mut network, mut email, mut service) = (None, None, None);
        for item in text.split(',') {
            let (name, limit) = item.trim().split_once('=').ok_or(RateLimitsError::Item)?;
            let limit = match limit {
                "off" => None,
                limit => Some(RateLimit::parse(limit).ok_or(RateLimitsError::Item)?),
            };
            let place = match name {
                "network" => &mut network,
                "email" => &mut email,
                "service" => &mut service,
                _ => return Err(RateLimitsError::Item),
            };
            if place.replace(limit).is_some() {
                return Err(RateLimitsError::Twice);
            }
        }
        match (network, email, service) {
            (Some(network), Some(email), Some(service)) => Ok(Self {
                network,
                email,
                service,
            }),
            _ => Err(RateLimitsError::Missing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_so_many_in_so_much_time() {
        let limits: RateLimits = "network=10/1m, email=5/1h,service=off".parse().unwrap();
        let network = limits.network.unwrap();
        assert_eq!(network.emission(), Duration::from_secs(6));
        assert_eq!(network.tolerance(), Duration::from_secs(54));
        assert_eq!(limits.email.unwrap().emission(), Duration::from_secs(12 * 60));
        assert_eq!(limits.service, None);
        assert_eq!(network.to_string(), "10 in 60 s");
        assert_eq!(RateLimit::parse("1/24h").unwrap().tolerance(), Duration::ZERO);
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for item in [
            "",
            "5",
            "5/",
            "5/m",
            "0/1m",
            "5/0m",
            "-1/1m",
            "5/1d",
            "5/25h",
            "x/1m",
            "5/1é",
            "9999999/1s",
        ] {
            let text = format!("network={item},email=off,service=off");
            assert_eq!(text.parse::<RateLimits>(), Err(RateLimitsError::Item), "{item:?}");
        }
        for (text, error) in [
            ("", RateLimitsError::Item),
            (
                "network=off,network=off,email=off,service=off",
                RateLimitsError::Twice,
            ),
            ("network=off,email=off", RateLimitsError::Missing),
            (
                "network=off,email=off,service=off,person=off",
                RateLimitsError::Item,
            ),
        ] {
            assert_eq!(text.parse::<RateLimits>(), Err(error), "{text:?}");
        }
    }
}
