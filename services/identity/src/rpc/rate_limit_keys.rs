//! The keys under which rate limits are counted, and the failure of a call that is over a limit.

use haven_platform::{
    call::Call, failure::Failure, mac::MacKeys, network::NetworkSource, rate_limit::RateLimit, reason::Reason,
};

use crate::{
    domain::{
        email::EmailAddress,
        rate_limit::{FailureKeys, LimitKind, Quota, RateLimits},
    },
    store::rate_limit::{LimitError, Limited},
};

/// The explanation of a refusal for the network of a service, for its developers and for the log.
const SHARED_NETWORK: &str = "The network is that of the calling service, because the service sent no usable x-forwarded-for or lacks \
                              the scope `forward`: all its people share one limit";

/// Derives the keys under which limits are counted. They are keyed hashes, so that the table reveals no network,
/// address or service.
///
/// A call is counted under each key of the ring, and must be within the limit under each: a limit does not start again when
/// another key comes first.
#[derive(Clone, Debug)]
pub struct RateLimitKeys(MacKeys);

impl RateLimitKeys {
    /// Derives keys with `keys`.
    #[must_use]
    pub fn new(keys: MacKeys) -> Self {
        Self(keys)
    }

    /// The limits that apply to a call of `method`. `email` is `None` when the request's address is malformed: there is
    /// no limit per address then.
    pub(super) fn quotas(
        &self,
        method: &'static str,
        limits: &RateLimits,
        call: &Call,
        email: Option<&EmailAddress>,
    ) -> Vec<Quota> {
        let network = call.network.map(|network| network.as_bytes().to_vec());
        let email = email.map(|email| email.canonical().as_bytes().to_vec());
        let service = call
            .caller
            .service
            .as_ref()
            .map(|service| service.as_str().as_bytes().to_vec());
        let network_kind = match call.network_source {
            NetworkSource::Client | NetworkSource::Forwarded => LimitKind::Network,
            NetworkSource::ServiceWithoutAddress | NetworkSource::ServiceWithoutForward => {
                LimitKind::NetworkOfService
            }
        };
        [
            (network_kind, limits.network, network),
            (LimitKind::Email, limits.email, email),
            (LimitKind::Service, limits.service, service),
        ]
        .into_iter()
        .filter_map(|(kind, limit, subject)| Some((kind, limit?, subject?)))
        .flat_map(|(kind, limit, subject)| {
            self.hashes(&[method.as_bytes(), kind.name().as_bytes(), &subject])
                .map(|key| Quota { kind, key, limit })
                .collect::<Vec<_>>()
        })
        .collect()
    }

    /// The limit on passwords that signed-in people send to confirm an action, and the keys of the account's wrong
    /// passwords.
    ///
    /// `limit` is the limit of sign-ins per address, so that a stolen access token does not allow guessing passwords
    /// faster.
    pub(super) fn reauthentication(
        &self,
        limit: Option<RateLimit>,
        email_canonical: &str,
    ) -> (Vec<Quota>, FailureKeys) {
        let kind = LimitKind::Email;
        let parts = [b"OwnPassword", kind.name().as_bytes(), email_canonical.as_bytes()];
        let quotas = limit.into_iter().flat_map(|limit| {
            self.hashes(&parts)
                .map(move |key| Quota { kind, key, limit })
                .collect::<Vec<_>>()
        });
        (quotas.collect(), self.failures(email_canonical))
    }

    /// The keys under which the wrong passwords for an address are counted, whether it has an account or not.
    pub(super) fn failures(&self, email_canonical: &str) -> FailureKeys {
        FailureKeys::new(self.hashes(&[LimitKind::Failures.name().as_bytes(), email_canonical.as_bytes()]))
    }

    /// The hashes of `parts` under each key of the ring.
    fn hashes<'a>(&'a self, parts: &'a [&'a [u8]]) -> impl Iterator<Item = [u8; 32]> + 'a {
        self.0.iter().map(move |(_, key)| key.mac(parts))
    }
}

impl From<LimitError> for Failure {
    fn from(error: LimitError) -> Self {
        match error {
            LimitError::Limited(limited) => rate_limited(&limited),
            LimitError::Database(error) => error.into(),
        }
    }
}

/// RATE_LIMITED with every kind of limit that the call is over, and the delay after which it is over none of them.
fn rate_limited(limited: &[Limited]) -> Failure {
    let longest = limited
        .iter()
        .map(|one| one.retry_after)
        .max()
        .unwrap_or_default();
    let mut failure = Failure::new(Reason::RateLimited).retry_after(longest);
    if limited.iter().any(|one| one.kind == LimitKind::NetworkOfService) {
        failure = failure.because(SHARED_NETWORK);
    }
    limited.iter().fold(failure, |failure, one| {
        let description = match one.quota {
            Some(quota) if one.kind == LimitKind::NetworkOfService => {
                format!("At most {}. {SHARED_NETWORK}", quota.limit)
            }
            Some(quota) => format!("At most {}", quota.limit),
            None => "After several wrong passwords, the delay before each further attempt grows".to_owned(),
        };
        failure.quota(one.kind.name(), description)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use haven_platform::{
        call::Caller,
        deadline::Deadline,
        mac::{KeyId, SecretKey, SecretKeys},
        network::Network,
    };

    use super::*;

    #[test]
    fn each_limit_has_its_own_key() {
        let keys = RateLimitKeys::new(MacKeys::derive(&SecretKeys::one([7; 32]), "limits"));
        let limits: RateLimits = "network=10/1m,email=5/1h,service=9/1m".parse().unwrap();
        let call = Call {
            caller: Caller::default(),
            deadline: Deadline::after(Duration::from_secs(1)),
            network: Some(Network::of("192.0.2.1".parse().unwrap())),
            network_source: NetworkSource::Client,
        };
        let email = EmailAddress::parse("Ada@Example.org").unwrap();
        let quotas = keys.quotas("SignIn", &limits, &call, Some(&email));
        let kinds: Vec<_> = quotas.iter().map(|quota| quota.kind).collect();
        assert_eq!(
            kinds,
            [LimitKind::Network, LimitKind::Email],
            "the call comes from no service"
        );
        let respelled = keys.quotas(
            "SignIn",
            &limits,
            &call,
            EmailAddress::parse("ada@example.org").ok().as_ref(),
        );
        assert_eq!(quotas, respelled, "two spellings of one address");
        let other = keys.quotas("SignUp", &limits, &call, Some(&email));
        assert!(
            other.iter().all(|quota| !quotas.contains(quota)),
            "sign-up has its own counts"
        );
        let without = keys.quotas("SignIn", &limits, &call, None);
        assert_eq!(without, quotas[..1], "only the limit of the network");
    }

    #[test]
    fn a_refusal_says_when_the_people_of_a_service_share_one_limit() {
        let keys = RateLimitKeys::new(MacKeys::derive(&SecretKeys::one([7; 32]), "limits"));
        let limits: RateLimits = "network=10/1m,email=off,service=off".parse().unwrap();
        let quota = |network_source| {
            let call = Call {
                caller: Caller::default(),
                deadline: Deadline::after(Duration::from_secs(1)),
                network: Some(Network::of("192.0.2.1".parse().unwrap())),
                network_source,
            };
            keys.quotas("SignIn", &limits, &call, None)[0]
        };
        let own = quota(NetworkSource::Client);
        for (source, is_shared) in [
            (NetworkSource::Client, false),
            (NetworkSource::Forwarded, false),
            (NetworkSource::ServiceWithoutAddress, true),
            (NetworkSource::ServiceWithoutForward, true),
        ] {
            let quota = quota(source);
            assert_eq!(quota.key, own.key, "a network has one count, {source:?}");
            let failure = rate_limited(&[Limited {
                kind: quota.kind,
                quota: Some(quota),
                retry_after: Duration::from_secs(6),
            }]);
            let cause = std::error::Error::source(&failure).map(ToString::to_string);
            assert_eq!(
                cause.as_deref(),
                is_shared.then_some(SHARED_NETWORK),
                "{source:?}"
            );
        }
    }

    #[test]
    fn a_limit_is_counted_under_each_key_of_the_ring() {
        let limits: RateLimits = "network=off,email=5/1h,service=off".parse().unwrap();
        let call = Call {
            caller: Caller::default(),
            deadline: Deadline::after(Duration::from_secs(1)),
            network: None,
            network_source: NetworkSource::Client,
        };
        let email = EmailAddress::parse("ada@example.org").unwrap();
        let keys = |ring: &[(&str, u8)]| {
            let ring = ring.iter().map(|(id, byte)| {
                let secret = SecretKey::new(Box::new([*byte; 32]));
                (KeyId::parse(id).unwrap(), secret)
            });
            let ring = SecretKeys::new(ring.collect()).unwrap();
            let keys = RateLimitKeys::new(MacKeys::derive(&ring, "limits"));
            let quotas = keys.quotas("SignIn", &limits, &call, Some(&email));
            (quotas, keys.failures("ada@example.org"))
        };
        let old = keys(&[("k1", 1)]);
        let both = keys(&[("k2", 2), ("k1", 1)]);
        let swapped = keys(&[("k1", 1), ("k2", 2)]);
        assert_eq!((old.0.len(), both.0.len()), (1, 2));
        assert!(both.0.contains(&old.0[0]), "the limit goes on under the old key");
        assert!(both.1.as_slice().contains(&old.1.as_slice()[0]));
        assert_eq!(both.1, swapped.1, "the order of locks is the same in every ring");
    }
}
