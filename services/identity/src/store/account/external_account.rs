//! The creation of an account for a person whom another provider signed in.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};

use super::{AccountError, Accounts};
use crate::domain::outbox::{LEASE, Message};

impl Accounts {
    /// Creates an account for `person`, whom another provider signed in, and queues `message` to data. Returns `false`
    /// when the person has an account already; nothing is written then.
    ///
    /// # Errors
    ///
    /// When the person's account was erased, or when the database fails.
    pub async fn create_external(
        &self,
        person: UserId,
        message: &Message,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<bool, AccountError> {
        let mut tx = self
            .database
            .begin("MakeExternalAccount", Context::User(person), deadline)
            .await?;
        let created = sqlx::query_scalar!(
            r#"
            SELECT /* MakeExternalAccount */
                   identity.make_external_account($1, now() + make_interval(secs => $2), $3) AS "made!""#,
            message.id,
            LEASE.as_secs_f64(),
            at,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        Ok(created)
    }
}
