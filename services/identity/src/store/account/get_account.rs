//! The SQL of GetAccount.

use haven_platform::{call::UserId, database::Context, deadline::Deadline};

use super::{AccountError, Accounts, find};
use crate::domain::account::{Account, ActingAs};

impl Accounts {
    /// Reads the account of `person`.
    ///
    /// # Errors
    ///
    /// When the person has no account, or when the database fails.
    pub async fn get(
        &self,
        acting_as: ActingAs,
        person: UserId,
        deadline: Deadline,
    ) -> Result<Account, AccountError> {
        let mut tx = self
            .database
            .begin("GetAccount", context(acting_as, person), deadline)
            .await?;
        let account = find(&mut tx, person).await?;
        tx.commit().await?;
        Ok(account)
    }
}

fn context(acting_as: ActingAs, person: UserId) -> Context {
    match acting_as {
        ActingAs::Person => Context::User(person),
        ActingAs::Service => Context::ServiceFor(person),
    }
}
