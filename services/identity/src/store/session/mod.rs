//! Sessions and refresh tokens: the SQL of `SessionService`.
//!
//! A transaction that locks several rows of a person locks them in this order, or else two transactions could deadlock:
//! the account, its sessions, their refresh tokens, wrong passwords, the end of the audit chain.

mod end_session;
mod list_ended_sessions;
mod list_sessions;
mod refresh_session;
mod sign_in;

use std::sync::Arc;

use haven_platform::database::{Database, DbError};

pub use self::{
    end_session::Ended,
    list_ended_sessions::{Place, Read},
    refresh_session::{FoundToken, Refreshed, RefreshedSession},
    sign_in::{Attempt, BeginError, BegunSession, Credential, Found, SignInLimits},
};
use crate::domain::consent::Consent;

/// The sessions of all people.
#[derive(Clone, Debug)]
pub struct Sessions {
    database: Arc<Database>,
}

// === impl Sessions ===

impl Sessions {
    /// The sessions in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

/// Parses consents that a statement returned as `document=version`.
fn consents(items: &[String]) -> Result<Vec<Consent>, DbError> {
    let parsed: Option<Vec<Consent>> = items.iter().map(|item| Consent::from_item(item)).collect();
    parsed.ok_or_else(|| DbError::unexpected("a missing consent"))
}
