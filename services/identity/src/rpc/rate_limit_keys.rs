//! The keys under which rate limits are counted, and the failure of a call that is over a limit.

use haven_platform::{
    call::{Call, User, UserId},
    failure::Failure,
    mac::MacKeys,
    rate_limit::RateLimit,
    reason::Reason,
};
use uuid::Uuid;

use crate::{
    domain::{
        device_token::DeviceToken,
        email::EmailAddress,
        rate_limit::{FailureKeys, LimitKind, Quota, RETRIES, RateLimits},
        recovery::RecoveryToken,
    },
    store::rate_limit::{LimitError, Limited},
};

/// The explanation of a refusal for the network of a service or a proxy, for its developers and for the log.
const SHARED_NETWORK: &str = "The network is that of the calling service or proxy, because it sent no usable x-forwarded-for, or the \
                              service lacks the scope `forward`: all its people share one limit";

/// Derives the keys under which limits are counted. They are keyed hashes, so that the table reveals no network,
/// address or service.
///
/// A call is counted under each key of the ring, and must be within the limit under each: a limit does not start again when
/// another key comes first.
///
/// The limit itself is part of what is hashed. A limit that was changed counts from its start, and replicas with different limits,
/// as during a change of the configuration, neither wait for each other's times nor overwrite them.
#[derive(Clone, Debug)]
pub struct RateLimitKeys(MacKeys);

impl RateLimitKeys {
    /// Derives keys with `keys`.
    #[must_use]
    pub fn new(keys: MacKeys) -> Self {
        Self(keys)
    }

    /// The limits that apply to a call of `method`: of its network, of its service, and of `email` unless it is `None`, as for a
    /// malformed address.
    pub(super) fn quotas(
        &self,
        method: &'static str,
        limits: &RateLimits,
        call: &Call,
        email: Option<&EmailAddress>,
    ) -> Vec<Quota> {
        let network = call.network.map(|network| network.as_bytes().to_vec());
        let service = call
            .caller
            .service
            .as_ref()
            .map(|service| service.as_str().as_bytes().to_vec());
        let mut quotas = self.quota(method, LimitKind::Network, limits, network.as_deref());
        if call.network_source.is_shared() {
            for quota in &mut quotas {
                quota.kind = LimitKind::NetworkOfService;
            }
        }
        if let Some(email) = email {
            quotas.extend(self.email_quota(method, limits, email));
        }
        quotas.extend(self.quota(method, LimitKind::Service, limits, service.as_deref()));
        quotas
    }

    /// The limit of `method` on the address `email`.
    pub(super) fn email_quota(
        &self,
        method: &'static str,
        limits: &RateLimits,
        email: &EmailAddress,
    ) -> Vec<Quota> {
        self.quota(
            method,
            LimitKind::Email,
            limits,
            Some(email.canonical().as_bytes()),
        )
    }

    /// The limit of `method` on the calls of one person.
    pub(super) fn person_quota(
        &self,
        method: &'static str,
        limits: &RateLimits,
        person: UserId,
    ) -> Vec<Quota> {
        self.quota(
            method,
            LimitKind::Person,
            limits,
            Some(person.as_uuid().as_bytes()),
        )
    }

    /// The limit of `method` on the calls about one session.
    pub(super) fn session_quota(
        &self,
        method: &'static str,
        limits: &RateLimits,
        session: Uuid,
    ) -> Vec<Quota> {
        self.quota(method, LimitKind::Session, limits, Some(session.as_bytes()))
    }

    /// The limit on retries of the request `id` of `method`. Request ids are those of `owner`, which is empty where they
    /// are no one's.
    pub(super) fn retry_quota(&self, method: &'static str, owner: &[u8], id: Uuid) -> Vec<Quota> {
        let parts = [method.as_bytes(), b"retry", owner, id.as_bytes()];
        self.quotas_of(LimitKind::Request, Some(RETRIES), &parts)
    }

    /// The keys under which the wrong passwords in retries of the sign-up `id` are counted.
    pub(super) fn sign_up_failures(&self, id: Uuid) -> FailureKeys {
        FailureKeys::new(self.hashes(&[b"failures", b"sign-up", id.as_bytes()]))
    }

    /// The limits of a sign-in, without those of its network and its service, and the keys under which its wrong passwords
    /// are counted.
    ///
    /// A device that signed in before is limited, and counted, by its token alone. Other attempts are limited and counted
    /// by the address and the network together, so that no one can use up the attempts of another network, and are capped by
    /// `cap` for the address, whether it has an account or not.
    pub(super) fn sign_in(
        &self,
        limits: &RateLimits,
        cap: Option<RateLimit>,
        call: &Call,
        email: &EmailAddress,
        device: Option<&DeviceToken>,
    ) -> (Vec<Quota>, FailureKeys) {
        let limit = limits.get(LimitKind::Email);
        if let Some(device) = device {
            let quotas = self.quotas_of(LimitKind::Device, limit, &[b"SignIn", b"device", device.expose()]);
            let failures = FailureKeys::new(self.hashes(&[b"failures", b"device", device.expose()]));
            return (quotas, failures);
        }
        let canonical = email.canonical().as_bytes();
        let network = call.network.map(|network| network.as_bytes().to_vec());
        let network = network.as_deref().unwrap_or_default();
        let quotas = self.quotas_of(
            LimitKind::Email,
            limit,
            &[b"SignIn", b"email", canonical, network],
        );
        let failures = FailureKeys::new(self.hashes(&[b"failures", b"network", canonical, network]));
        let failures = match cap {
            Some(cap) => {
                let parts: [&[u8]; 4] = [b"failures", b"account", canonical, &cap.to_bytes()];
                failures.capped(self.hashes(&parts), cap)
            }
            None => failures,
        };
        (quotas, failures)
    }

    /// The limit on passwords that signed-in people send to confirm an action, and the keys under which their wrong
    /// passwords are counted: those of the person's session, so that neither guesses of others nor those with another stolen
    /// token count.
    ///
    /// `limit` is the limit of sign-ins per address, so that a stolen access token does not allow guessing passwords
    /// faster.
    pub(super) fn reauthentication(
        &self,
        limit: Option<RateLimit>,
        user: &User,
    ) -> (Vec<Quota>, FailureKeys) {
        let person = user.id.as_uuid().as_bytes();
        let session = user.own_session().map(|session| session.as_bytes().to_vec());
        let session = session.as_deref().unwrap_or_default();
        let quotas = self.quotas_of(
            LimitKind::Session,
            limit,
            &[b"OwnPassword", b"session", person, session],
        );
        let failures = FailureKeys::new(self.hashes(&[b"failures", b"session", person, session]));
        (quotas, failures)
    }

    /// The keys under which the wrong passwords of retries with one recovery token are counted.
    pub(super) fn recovery_token(&self, token: &RecoveryToken) -> FailureKeys {
        FailureKeys::new(self.hashes(&[b"failures", b"recovery", token.expose()]))
    }

    /// The limit of `kind`, when the limit is on and the call has such a subject.
    fn quota(
        &self,
        method: &'static str,
        kind: LimitKind,
        limits: &RateLimits,
        subject: Option<&[u8]>,
    ) -> Vec<Quota> {
        match subject {
            Some(subject) => {
                let parts = [method.as_bytes(), kind.name().as_bytes(), subject];
                self.quotas_of(kind, limits.get(kind), &parts)
            }
            None => Vec::new(),
        }
    }

    /// The limit on the subject that `parts` name, under each key of the ring.
    fn quotas_of(&self, kind: LimitKind, limit: Option<RateLimit>, parts: &[&[u8]]) -> Vec<Quota> {
        match limit {
            Some(limit) => {
                let numbers = limit.to_bytes();
                let parts: Vec<&[u8]> = parts.iter().copied().chain([numbers.as_slice()]).collect();
                let keys = self.hashes(&parts);
                keys.map(|key| Quota { kind, key, limit }).collect()
            }
            None => Vec::new(),
        }
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
            None if one.kind == LimitKind::Account => {
                "The account had many wrong passwords from several networks: only devices that signed in before, with their \
                 device_token, and signed-in users can try a password".to_owned()
            }
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
        network::{Network, NetworkSource},
    };

    use super::*;

    const KINDS: &[LimitKind] = &[LimitKind::Network, LimitKind::Email, LimitKind::Service];

    #[test]
    fn each_limit_has_its_own_key() {
        let keys = RateLimitKeys::new(MacKeys::derive(&SecretKeys::one([7; 32]), "limits"));
        let limits = RateLimits::parse("network=10/1m,email=5/1h,service=9/1m", KINDS).unwrap();
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
        let limits = RateLimits::parse("network=10/1m,email=off,service=off", KINDS).unwrap();
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
            (NetworkSource::ProxyWithoutAddress, true),
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
        let limits = RateLimits::parse("network=off,email=5/1h,service=off", KINDS).unwrap();
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
            (quotas, keys.sign_in(&limits, None, &call, &email, None).1)
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
