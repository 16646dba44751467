//! The SQL of GetUsage.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};

use super::{AccountError, Accounts, find};
use crate::domain::{
    account::ActingAs,
    quota::{QuotaUsage, Quotas},
};

impl Accounts {
    /// Reads how much `person` uses of each of `quotas` at the time `at`.
    ///
    /// # Errors
    ///
    /// When the person has no account, or when the database fails.
    pub async fn usage(
        &self,
        acting_as: ActingAs,
        person: UserId,
        quotas: &Quotas,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Vec<QuotaUsage>, AccountError> {
        let context = match acting_as {
            ActingAs::Person => Context::User(person),
            ActingAs::Service => Context::ServiceFor(person),
        };
        let mut tx = self.database.begin("GetUsage", context, deadline).await?;
        find(&mut tx, person).await?;
        let rows = sqlx::query!(
            r#"SELECT /* GetUsage */ quota AS "quota!", used AS "used!" FROM identity.usage($1) ORDER BY quota"#,
            at,
        )
        .fetch_all(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        let usage: Option<Vec<_>> = rows
            .into_iter()
            .map(|row| {
                Some(QuotaUsage {
                    limit: quotas.limit(&row.quota)?,
                    quota: row.quota,
                    used: row.used,
                })
            })
            .collect();
        usage.ok_or_else(|| DbError::unexpected("the name of a quota").into())
    }
}
