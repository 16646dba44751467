//! Pages of accounts, by keyset: a page costs what is on it, however many accounts there are.

use chrono::{DateTime, Utc};
use haven_platform::{
    database::{Context, DbError},
    deadline::Deadline,
    page::PageSize,
};
use uuid::Uuid;

use crate::domain::{account::Account, progress::Stage};
use crate::store::account::AccountRow;
use crate::store::account::sign_up::Accounts;

/// Which accounts to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountFilter {
    /// Only those at this stage.
    pub stage: Option<Stage>,
    /// Only those made at this time or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Only those made before this time.
    pub created_before: Option<DateTime<Utc>>,
}

/// The place of an account in the list: accounts come in the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountPlace {
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Its person's id.
    pub id: Uuid,
}

/// Some of the accounts.
#[derive(Debug)]
pub struct AccountPage {
    /// The oldest first.
    pub accounts: Vec<Account>,
    /// Whether there are more after them.
    pub more: bool,
}

impl Accounts {
    /// At most `size` accounts of `filter`, from the one after `after`, or from the first. Their email addresses are read when
    /// `with_email` says so.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        filter: AccountFilter,
        after: Option<AccountPlace>,
        size: PageSize,
        with_email: bool,
        deadline: Deadline,
    ) -> Result<AccountPage, DbError> {
        let size = usize::from(size.get());
        // One more than asked for shows whether there is a next page.
        let limit = size as i64 + 1;
        // Before the first account that there can be: none has the nil id, and none is from before there were any.
        let after = after.unwrap_or(AccountPlace {
            created_at: filter.created_from.unwrap_or(DateTime::UNIX_EPOCH),
            id: Uuid::nil(),
        });
        let mut tx = self
            .database
            .begin("ListAccounts", Context::Service, deadline)
            .await?;
        let rows = match filter.stage {
            None => {
                sqlx::query_as!(
                    AccountRow,
                    r#"/* ListAccounts */
                    SELECT id, CASE WHEN $5 THEN email END AS email, goals, stage, graduated_at, last_active_at,
                        created_at, updated_at, version
                    FROM identity.users
                    WHERE (created_at, id) > ($1, $2) AND created_at < coalesce($3, 'infinity'::timestamptz)
                    ORDER BY created_at, id
                    LIMIT $4"#,
                    after.created_at,
                    after.id,
                    filter.created_before,
                    limit,
                    with_email,
                )
                .fetch_all(&mut tx)
                .await?
            }
            Some(stage) => {
                sqlx::query_as!(
                    AccountRow,
                    r#"/* ListAccounts, at a stage */
                    SELECT id, CASE WHEN $5 THEN email END AS email, goals, stage, graduated_at, last_active_at,
                        created_at, updated_at, version
                    FROM identity.users
                    WHERE stage = $6 AND (created_at, id) > ($1, $2)
                        AND created_at < coalesce($3, 'infinity'::timestamptz)
                    ORDER BY created_at, id
                    LIMIT $4"#,
                    after.created_at,
                    after.id,
                    filter.created_before,
                    limit,
                    with_email,
                    i16::from(stage.get()),
                )
                .fetch_all(&mut tx)
                .await?
            }
        };
        tx.commit().await?;
        let more = rows.len() > size;
        let accounts = rows
            .into_iter()
            .take(size)
            .map(Account::try_from)
            .collect::<Result<_, _>>()?;
        Ok(AccountPage { accounts, more })
    }
}
