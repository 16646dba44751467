//! The identity under which a transaction runs, as Row Level Security sees it.

use std::time::Duration;

use uuid::Uuid;

use super::{limits::Limits, server::SERVER};
use crate::call::UserId;

/// The statement that gives a transaction the claims of its context, its only parameter. It is the second message of a
/// transaction, and no statement of a store function runs before it.
pub(super) const CLAIMS: &str = "SELECT /* Context */ set_config('request.jwt.claims', $1, true)";

/// The identity under which a transaction runs, and with it the rows that it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// No caller. Reaches no row; may call the few functions that are granted to the anonymous role.
    Anonymous,
    /// No authenticated caller, but a user id in the claims: may insert the first rows of that user.
    AnonymousFor(UserId),
    /// A user. Reaches the user's own rows.
    User(UserId),
    /// The service itself. Reaches its own tables, such as a queue.
    Service,
    /// The service on behalf of a user. Reaches the user's rows.
    ServiceFor(UserId),
    /// The service with a claim of its own. Reaches the rows that the policies grant for that claim.
    ServiceWith(Claim),
}

/// A claim beside the caller's id, for policies to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The claim's name in `request.jwt.claims`. Lower-case letters only, because it is not escaped.
    pub name: &'static str,
    /// The claim's value, a UUID.
    pub value: Uuid,
}

// === impl Context ===

impl Context {
    fn role(self) -> &'static str {
        match self {
            Self::Anonymous | Self::AnonymousFor(_) => "anon",
            Self::User(_) => "user",
            Self::Service | Self::ServiceFor(_) | Self::ServiceWith(_) => "service",
        }
    }

    /// Returns the claims for policies to read, as JSON; `None` when there are none.
    pub(super) fn claims(self) -> Option<String> {
        match self {
            Self::Anonymous | Self::Service => None,
            Self::AnonymousFor(id) | Self::User(id) | Self::ServiceFor(id) => {
                Some(format!(r#"{{"sub":"{id}"}}"#))
            }
            Self::ServiceWith(Claim { name, value }) => Some(format!(r#"{{"{name}":"{value}"}}"#)),
        }
    }

    /// Returns those of `limits` that a transaction under this identity carries, as JSON.
    pub(super) fn limits(self, limits: &Limits) -> Option<&str> {
        match self {
            Self::User(_) => Some(limits.user()),
            Self::ServiceFor(_) => Some(limits.service()),
            Self::Anonymous | Self::AnonymousFor(_) | Self::Service | Self::ServiceWith(_) => None,
        }
    }

    /// Returns the batch that begins a transaction under this identity, without its claims. Its row has the columns of
    /// [`SERVER`].
    ///
    /// Postgres shows the text of the batch in `pg_stat_activity` until the next statement, and logs it where statements are
    /// logged. So nothing in it comes from a request: claims name a user, or are a secret, and are bound to [`CLAIMS`] instead,
    /// which costs one round trip more. Without claims, the batch sets empty ones.
    ///
    /// The role is set by its own statement, because query statistics keep the text of a statement that ends under another
    /// role than it began.
    pub(super) fn begin(self, schema: &'static str, limits: Option<&Limits>, timeout: Duration) -> String {
        let role = self.role();
        let claims = match self.claims() {
            Some(_) => "",
            None => "set_config('request.jwt.claims', '{}', true), ",
        };
        let limits = limits.and_then(|limits| self.limits(limits));
        let limits = limits.map_or_else(String::new, |limits| {
            format!("set_config('{schema}.limits', '{limits}', true), ")
        });
        let millis = millis(timeout);
        format!(
            "BEGIN; SELECT {claims}set_config('statement_timeout', '{millis}', true), {limits}{SERVER}; \
             SET LOCAL ROLE {schema}_{role}"
        )
    }
}

/// Returns the batch that begins a transaction for a call of a function, as the login: the function takes its identity itself.
/// Its row has the columns of [`SERVER`].
pub(super) fn begin_call(timeout: Duration) -> String {
    let millis = millis(timeout);
    format!("BEGIN; SELECT set_config('statement_timeout', '{millis}', true), {SERVER}")
}

/// Returns the value of `statement_timeout`. 0 would mean that there is no limit.
fn millis(timeout: Duration) -> u128 {
    timeout.as_millis().clamp(1, i32::MAX as u128)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_begins_with_its_role_and_limits_in_one_batch_without_its_user() {
        let id = UserId::new(Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057));
        assert_eq!(
            Context::User(id).begin("data", None, Duration::from_millis(1500)),
            "BEGIN; SELECT set_config('statement_timeout', '1500', true), pg_catalog.pg_is_in_recovery() AS in_recovery, \
             pg_catalog.pg_postmaster_start_time()::text AS started, pg_catalog.pg_backend_pid() AS pid; \
             SET LOCAL ROLE data_user"
        );
        let limits = Limits::new(&[("widgets", 5)], &[]);
        let ticket = Claim {
            name: "ticket",
            value: Uuid::from_u128(7),
        };
        let sub = r#"{"sub":"01890a5d-ac96-774b-bcce-b302099a8057"}"#;
        for (context, role, claims, expected) in [
            (
                Context::User(id),
                "user",
                Some(sub),
                Some(r#"set_config('data.limits', '{"widgets":5}', true)"#),
            ),
            (
                Context::ServiceFor(id),
                "service",
                Some(sub),
                Some("set_config('data.limits', '{}', true)"),
            ),
            (Context::AnonymousFor(id), "anon", Some(sub), None),
            (
                Context::ServiceWith(ticket),
                "service",
                Some(r#"{"ticket":"00000000-0000-0000-0000-000000000007"}"#),
                None,
            ),
            (Context::Service, "service", None, None),
            (Context::Anonymous, "anon", None, None),
        ] {
            assert_eq!(context.claims().as_deref(), claims);
            let batch = context.begin("data", Some(&limits), Duration::ZERO);
            assert!(
                batch.ends_with(&format!("; SET LOCAL ROLE data_{role}")),
                "{batch}"
            );
            assert_eq!(batch.contains("data.limits"), expected.is_some());
            assert!(batch.contains(expected.unwrap_or_default()), "{batch}");
            assert!(batch.contains("'statement_timeout', '1'"), "{batch}");
            // Claims of an earlier transaction cannot be there: they end with it. Those of a role's settings can.
            assert_eq!(
                batch.contains("set_config('request.jwt.claims', '{}', true)"),
                claims.is_none()
            );
            for value in [id.to_string(), ticket.value.to_string()] {
                assert!(!batch.contains(&value), "{batch}");
            }
        }
    }
}
