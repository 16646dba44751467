//! Where a call comes from: for the limits that it falls under, and for the audit log.

use haven_platform::{call::Call, failure::Failure, mac::MacKey, reason::Reason};

use crate::{
    domain::{
        audit::Origin,
        email::EmailAddress,
        rate_limit::{LimitKind, Quota, RateLimit, RateLimits},
    },
    store::rate_limit::{LimitError, Limited},
};

/// Makes the keys under which limits are counted: keyed hashes, so that the table says nothing about anybody.
#[derive(Clone, Debug)]
pub struct LimitKeys(MacKey);

impl LimitKeys {
    /// Keys under `key`.
    #[must_use]
    pub fn new(key: MacKey) -> Self {
        Self(key)
    }

    /// The limits that a call of `method` falls under. What is sent as an email address and cannot be one has no limit of
    /// its own.
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
        [
            (LimitKind::Network, limits.network, network),
            (LimitKind::Email, limits.email, email),
            (LimitKind::Service, limits.service, service),
        ]
        .into_iter()
        .filter_map(|(kind, limit, of)| {
            Some(Quota {
                kind,
                key: self.0.mac(&[method.as_bytes(), kind.name().as_bytes(), &of?]),
                limit: limit?,
            })
        })
        .collect()
    }

    /// The limit that a person falls under who proves who they are, though they are signed in: as often as one may sign in, so
    /// that whoever took a token cannot try passwords faster; and the key of the account's wrong passwords.
    pub(super) fn of_account(&self, limit: Option<RateLimit>, canonical: &str) -> (Vec<Quota>, [u8; 32]) {
        let kind = LimitKind::Email;
        let key = || {
            self.0
                .mac(&[b"OwnPassword", kind.name().as_bytes(), canonical.as_bytes()])
        };
        let quota = limit.map(|limit| Quota {
            kind,
            key: key(),
            limit,
        });
        (quota.into_iter().collect(), self.failures(canonical))
    }

    /// The key of the wrong passwords of an account, by its canonical address: whether there is one or not.
    pub(super) fn failures(&self, email_canonical: &str) -> [u8; 32] {
        self.0
            .mac(&[LimitKind::Failures.name().as_bytes(), email_canonical.as_bytes()])
    }
}

/// What is kept of where `call` comes from.
pub(super) fn origin(call: &Call, networks: &MacKey) -> Origin {
    Origin {
        service: call
            .caller
            .service
            .as_ref()
            .map(|service| service.as_str().to_owned()),
        network_mac: call.network.map(|network| networks.mac(&[&network.as_bytes()])),
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

/// Every limit that the call is over, and the time after which it is over none of them.
fn rate_limited(limited: &[Limited]) -> Failure {
    let longest = limited
        .iter()
        .map(|one| one.retry_after)
        .max()
        .unwrap_or_default();
    let failure = Failure::new(Reason::RateLimited).retry_after(longest);
    limited.iter().fold(failure, |failure, one| {
        let description = match one.quota {
            Some(quota) => format!("At most {}", quota.limit),
            None => "After several wrong passwords, each further attempt waits longer".to_owned(),
        };
        failure.quota(one.kind.name(), description)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use haven_platform::{call::Caller, deadline::Deadline, mac::SecretKey, network::Network};

    use super::*;

    #[test]
    fn each_limit_has_a_key_of_its_own() {
        let keys = LimitKeys::new(MacKey::derive(&SecretKey::new(Box::new([7; 32])), "limits"));
        let limits: RateLimits = "network=10/1m,email=5/1h,service=9/1m".parse().unwrap();
        let call = Call {
            caller: Caller::default(),
            deadline: Deadline::after(Duration::from_secs(1)),
            network: Some(Network::of("192.0.2.1".parse().unwrap())),
        };
        let email = EmailAddress::parse("Ada@Example.org").unwrap();
        let quotas = keys.quotas("SignIn", &limits, &call, Some(&email));
        let kinds: Vec<_> = quotas.iter().map(|quota| quota.kind).collect();
        assert_eq!(kinds, [LimitKind::Network, LimitKind::Email], "no service calls");
        let again = keys.quotas(
            "SignIn",
            &limits,
            &call,
            EmailAddress::parse("ada@example.org").ok().as_ref(),
        );
        assert_eq!(quotas, again, "two spellings of one address");
        let other = keys.quotas("SignUp", &limits, &call, Some(&email));
        assert!(
            other.iter().all(|quota| !quotas.contains(quota)),
            "sign-up counts apart"
        );
        let without = keys.quotas("SignIn", &limits, &call, None);
        assert_eq!(without, quotas[..1], "the network's, whatever the address is");
    }
}
