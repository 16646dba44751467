//! Rate limits: their configuration, and the limits that apply to one call.

use std::{fmt, num::NonZeroU32, time::Duration};

use haven_platform::rate_limit::RateLimit;

/// The limit on retries of one request that has a password, under [`LimitKind::Request`]. Such a retry is admitted whether
/// other limits are used up or not, and costs a hash.
pub const RETRIES: RateLimit = RateLimit::new(
    match NonZeroU32::new(100) {
        Some(count) => count,
        None => NonZeroU32::MIN,
    },
    Duration::from_secs(60),
);

/// The subject that a limit applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// The network of the client.
    Network,
    /// The email address, whether it has an account or not; of a sign-in, the address and the network.
    Email,
    /// The service that calls on behalf of a person.
    Service,
    /// The person who calls.
    Person,
    /// The session that a call is about.
    Session,
    /// The device that signed in before.
    Device,
    /// The account, over all networks: wrong passwords.
    Account,
    /// The consecutive wrong passwords of one caller.
    Failures,
    /// The network of a service that did not state its client's. It has the limit and the count of [`Network`](Self::Network),
    /// and no configuration of its own, so it comes after the kinds that have one.
    NetworkOfService,
    /// A request that was answered before: the limit is [`RETRIES`].
    Request,
}

/// The limits of one variable. A limit that is `None` is off.
///
/// ```
/// use std::time::Duration;
///
/// use haven_identity::domain::rate_limit::{LimitKind, RateLimits};
///
/// const KINDS: &[LimitKind] = &[LimitKind::Network, LimitKind::Service];
/// let limits = RateLimits::parse("network=10/1m,service=off", KINDS).unwrap();
/// assert_eq!(limits.get(LimitKind::Network).unwrap().emission(), Duration::from_secs(6));
/// assert_eq!(limits.get(LimitKind::Service), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimits([Option<RateLimit>; LimitKind::ALL.len()]);

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

/// The keys under which the wrong passwords of a caller are counted: a keyed hash of the caller's counter under each key of
/// the ring. A caller without a counter of their own also has the cap of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureKeys {
    keys: Vec<Vec<u8>>,
    cap: Option<FailureCap>,
}

/// The limit on the wrong passwords for an account over all networks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureCap {
    /// The keyed hash of the account's address under each key of the ring.
    pub keys: Vec<Vec<u8>>,
    /// The limit.
    pub limit: RateLimit,
}

/// The error when the configuration of limits cannot be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateLimitsError {
    /// An item is malformed.
    #[error("each item must be {} with a limit such as `10/1m` (s, m or h), or `off`", Names(.0, " or "))]
    Item(&'static [LimitKind]),
    /// A limit is listed twice.
    #[error("a limit is listed twice")]
    Twice,
    /// A limit is missing.
    #[error("must list each limit: {}; `off` switches one off", Names(.0, " and "))]
    Missing(&'static [LimitKind]),
}

/// The names of kinds, as an error lists them.
struct Names<'a>(&'a [LimitKind], &'static str);

// === impl FailureKeys ===

impl FailureKeys {
    /// Creates the keys from the hashes. They are sorted, so that statements of replicas with another order of the ring lock
    /// the rows in the same order.
    #[must_use]
    pub fn new(hashes: impl Iterator<Item = [u8; 32]>) -> Self {
        Self {
            keys: sorted(hashes),
            cap: None,
        }
    }

    /// Adds the cap of the account, under these hashes.
    #[must_use]
    pub fn capped(self, hashes: impl Iterator<Item = [u8; 32]>, limit: RateLimit) -> Self {
        Self {
            cap: Some(FailureCap {
                keys: sorted(hashes),
                limit,
            }),
            ..self
        }
    }

    /// Returns the keys as a parameter of a statement.
    #[must_use]
    pub fn as_slice(&self) -> &[Vec<u8>] {
        &self.keys
    }

    /// Returns the cap of the account. `None` for a caller with a counter of their own.
    #[must_use]
    pub fn cap(&self) -> Option<&FailureCap> {
        self.cap.as_ref()
    }
}

fn sorted(hashes: impl Iterator<Item = [u8; 32]>) -> Vec<Vec<u8>> {
    let mut keys: Vec<_> = hashes.map(|hash| hash.to_vec()).collect();
    keys.sort_unstable();
    keys
}

// === impl LimitKind ===

impl LimitKind {
    /// The kinds that a variable can configure.
    const ALL: [Self; 8] = [
        Self::Network,
        Self::Email,
        Self::Service,
        Self::Person,
        Self::Session,
        Self::Device,
        Self::Account,
        Self::Failures,
    ];

    /// The subject's name in `QuotaFailure`, and part of the key under which it is counted.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Network | Self::NetworkOfService => "network",
            Self::Email => "email",
            Self::Service => "service",
            Self::Person => "person",
            Self::Session => "session",
            Self::Device => "device",
            Self::Account => "account",
            Self::Failures => "failures",
            Self::Request => "request",
        }
    }
}

// === impl RateLimits ===

impl RateLimits {
    /// Parses `text`, which lists a limit for each of `kinds` and for no other.
    ///
    /// # Errors
    ///
    /// [`RateLimitsError`], which names the kinds.
    pub fn parse(text: &str, kinds: &'static [LimitKind]) -> Result<Self, RateLimitsError> {
        let mut limits = Self::default();
        let mut listed = Vec::new();
        for item in text.split(',') {
            let malformed = RateLimitsError::Item(kinds);
            let (name, limit) = item.trim().split_once('=').ok_or(malformed)?;
            let kind = kinds.iter().find(|kind| kind.name() == name).ok_or(malformed)?;
            let limit = match limit {
                "off" => None,
                limit => Some(limit.parse().map_err(|_| malformed)?),
            };
            if listed.contains(kind) {
                return Err(RateLimitsError::Twice);
            }
            listed.push(*kind);
            limits.0[*kind as usize] = limit;
        }
        match listed.len() == kinds.len() {
            true => Ok(limits),
            false => Err(RateLimitsError::Missing(kinds)),
        }
    }

    /// Returns the limit of a kind. `None` when the limit is off, or is not one of the variable's.
    #[must_use]
    pub fn get(&self, kind: LimitKind) -> Option<RateLimit> {
        self.0.get(kind as usize).copied().flatten()
    }
}

// === impl Names ===

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(kinds, last) = self;
        for (position, kind) in kinds.iter().enumerate() {
            match position {
                0 => {}
                _ if position + 1 == kinds.len() => f.write_str(last)?,
                _ => f.write_str(", ")?,
            }
            write!(f, "`{}`", kind.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KINDS: &[LimitKind] = &[LimitKind::Network, LimitKind::Email, LimitKind::Service];

    #[test]
    fn a_limit_is_a_number_of_calls_per_period() {
        let limits = RateLimits::parse("network=10/1m, email=5/1h,service=off", KINDS).unwrap();
        let network = limits.get(LimitKind::Network).unwrap();
        assert_eq!(network.emission(), Duration::from_secs(6));
        assert_eq!(network.tolerance(), Duration::from_secs(54));
        let email = limits.get(LimitKind::Email).unwrap();
        assert_eq!(email.emission(), Duration::from_secs(12 * 60));
        assert_eq!(limits.get(LimitKind::Service), None);
        assert_eq!(network.to_string(), "10 in 60 s");
    }

    #[test]
    fn each_kind_has_a_place_of_its_own() {
        for (place, kind) in LimitKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
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
            let outcome = RateLimits::parse(&text, KINDS);
            assert_eq!(outcome, Err(RateLimitsError::Item(KINDS)), "{item:?}");
        }
        for (text, error) in [
            ("", RateLimitsError::Item(KINDS)),
            (
                "network=off,network=off,email=off,service=off",
                RateLimitsError::Twice,
            ),
            ("network=off,email=off", RateLimitsError::Missing(KINDS)),
            (
                "network=off,email=off,service=off,person=off",
                RateLimitsError::Item(KINDS),
            ),
        ] {
            assert_eq!(RateLimits::parse(text, KINDS), Err(error), "{text:?}");
        }
    }

    #[test]
    fn an_error_names_the_kinds_of_the_variable() {
        let error = |text, kinds| RateLimits::parse(text, kinds).unwrap_err().to_string();
        assert_eq!(
            error("email=off", KINDS),
            "must list each limit: `network`, `email` and `service`; `off` switches one off"
        );
        assert_eq!(
            error("network=off", &[LimitKind::Person]),
            "each item must be `person` with a limit such as `10/1m` (s, m or h), or `off`"
        );
    }
}
