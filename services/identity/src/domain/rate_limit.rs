//! Rate limits: their configuration, and the limits that apply to one call.

use std::str::FromStr;

use haven_platform::rate_limit::RateLimit;

/// The subject that a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// The network of the client.
    Network,
    /// The network of a service that did not state its client's, with the count of any other client in this network.
    NetworkOfService,
    /// The email address, whether it has an account or not.
    Email,
    /// The service that calls on behalf of a person.
    Service,
    /// The account's consecutive wrong passwords.
    Failures,
}

/// The limits of one RPC. A limit that is `None` is off.
///
/// ```
/// use std::time::Duration;
///
/// use haven_identity::domain::rate_limit::RateLimits;
///
/// let limits: RateLimits = "network=10/1m,email=5/1h,service=off".parse().unwrap();
/// assert_eq!(limits.network.unwrap().emission(), Duration::from_secs(6));
/// assert_eq!(limits.service, None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// The limit per network.
    pub network: Option<RateLimit>,
    /// The limit per email address.
    pub email: Option<RateLimit>,
    /// The limit per calling service.
    pub service: Option<RateLimit>,
}

/// A limit that applies to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The kind of subject.
    pub kind: LimitKind,
    /// The subject, as a keyed hash.
    pub key: [u8; 32],
    /// The limit that applies to the subject.
    pub limit: RateLimit,
}

/// The keys under which the wrong passwords for an address are counted: a keyed hash of the address under each key of the
/// ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureKeys(Vec<Vec<u8>>);

/// The error when the configuration of limits cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateLimitsError {
    /// An item is malformed.
    #[error(
        "each item must be `network`, `email` or `service` with a limit such as `10/1m` (s, m or h), or `off`"
    )]
    Item,
    /// A limit is listed twice.
    #[error("a limit is listed twice")]
    Twice,
    /// A limit is missing.
    #[error("must list all three limits: network, email and service; `off` switches one off")]
    Missing,
}

// === impl FailureKeys ===

impl FailureKeys {
    /// Creates the keys from the hashes. They are sorted, so that statements of replicas with another order of the ring lock
    /// the rows in the same order.
    #[must_use]
    pub fn new(hashes: impl Iterator<Item = [u8; 32]>) -> Self {
        let mut keys: Vec<_> = hashes.map(|hash| hash.to_vec()).collect();
        keys.sort_unstable();
        Self(keys)
    }

    /// Returns the keys as a parameter of a statement.
    #[must_use]
    pub fn as_slice(&self) -> &[Vec<u8>] {
        &self.0
    }
}

// === impl LimitKind ===

impl LimitKind {
    /// The subject's name in `QuotaFailure`, and part of the key under which it is counted.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Network | Self::NetworkOfService => "network",
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
                limit => Some(limit.parse().map_err(|_| RateLimitsError::Item)?),
            };
            let slot = match name {
                "network" => &mut network,
                "email" => &mut email,
                "service" => &mut service,
                _ => return Err(RateLimitsError::Item),
            };
            if slot.replace(limit).is_some() {
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
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_limit_is_a_number_of_calls_per_period() {
        let limits: RateLimits = "network=10/1m, email=5/1h,service=off".parse().unwrap();
        let network = limits.network.unwrap();
        assert_eq!(network.emission(), Duration::from_secs(6));
        assert_eq!(network.tolerance(), Duration::from_secs(54));
        assert_eq!(limits.email.unwrap().emission(), Duration::from_secs(12 * 60));
        assert_eq!(limits.service, None);
        assert_eq!(network.to_string(), "10 in 60 s");
    }

    #[test]
    fn malformed_limits_are_refused() {
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
