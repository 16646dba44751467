//! The identity that a transaction acts under.

use std::time::Duration;

use uuid::Uuid;

use crate::call::UserId;

/// As whom a transaction acts, and on whose rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// No caller. Reaches no row; may call the narrow functions that are granted to it.
    Anonymous,
    /// No caller yet, with a user id in the claims: may insert the first rows of that id.
    AnonymousFor(UserId),
    /// A user, on the user's own rows.
    User(UserId),
    /// The service itself, on its own tables, such as a queue.
    Service,
    /// The service, on the rows of one user.
    ServiceFor(UserId),
    /// The service, on the rows that a claim of its own grants it.
    ServiceWith(Claim),
}

/// A claim of a transaction beside its role, for policies to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The claim's name in `request.jwt.claims`: lower-case letters, because it is not escaped.
    pub name: &'static str,
    /// The claim's value.
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

    /// What the transaction carries for policies to read.
    fn claims(self) -> String {
        match self {
            Self::Anonymous | Self::Service => "{}".to_owned(),
            Self::AnonymousFor(id) | Self::User(id) | Self::ServiceFor(id) => format!(r#"{{"sub":"{id}"}}"#),
            Self::ServiceWith(Claim { name, value }) => format!(r#"{{"{name}":"{value}"}}"#),
        }
    }

    /// The batch that begins a transaction as this caller. Nothing in it comes from a request but a UUID.
    ///
    /// `set_config` rather than `SET LOCAL` for the claims, because query statistics keep the text of the latter. The role
    /// is set by a statement of its own: one that ends as another role than it began as is kept with its text, too.
    pub(super) fn begin(self, schema: &'static str, timeout: Duration) -> String {
        let role = self.role();
        let claims = self.claims();
        // 0 would mean no limit.
        let millis = timeout.as_millis().clamp(1, i32::MAX as u128);
        format!(
            "BEGIN; SELECT set_config('request.jwt.claims', '{claims}', true), \
             set_config('statement_timeout', '{millis}', true); \
             SET LOCAL ROLE {schema}_{role}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_begins_as_its_caller_in_one_batch() {
        let id = UserId::new(Uuid::from_u128(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057));
        assert_eq!(
            Context::User(id).begin("data", Duration::from_millis(1500)),
            "BEGIN; SELECT set_config('request.jwt.claims', '{\"sub\":\"01890a5d-ac96-774b-bcce-b302099a8057\"}', true), \
             set_config('statement_timeout', '1500', true); \
             SET LOCAL ROLE data_user"
        );
        assert!(
            Context::Service
                .begin("data", Duration::ZERO)
                .ends_with("ROLE data_service")
        );
        assert!(
            Context::ServiceWith(Claim {
                name: "ticket",
                value: Uuid::nil()
            })
            .begin("data", Duration::ZERO)
            .contains(r#"'{"ticket":"00000000-0000-0000-0000-000000000000"}'"#)
        );
        assert!(Context::Anonymous.begin("data", Duration::ZERO).contains("'{}'"));
        assert!(
            Context::Anonymous
                .begin("data", Duration::ZERO)
                .contains("'statement_timeout', '1'")
        );
    }
}
