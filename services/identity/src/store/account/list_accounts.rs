//! ListAccounts: pages by keyset, so that the cost of a page does not depend on the number of accounts.

use chrono::DateTime;
use haven_platform::{
    cursor::Cursor,
    database::{Context, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};
use uuid::Uuid;

use super::{AccountRow, Accounts};
use crate::domain::account::{Account, AccountFilter};

impl Accounts {
    /// Lists the accounts that match `filter`, oldest first, from the one after `after` or from the first. Email
    /// addresses are read only when `with_email` is set.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        filter: AccountFilter,
        after: Option<Cursor>,
        size: PageSize,
        with_email: bool,
        deadline: Deadline,
    ) -> Result<Page<Account>, DbError> {
        // The default is before every account: no account has the nil id, and none was created before 1970.
        let after = after.unwrap_or(Cursor {
            at: filter.created_from.unwrap_or(DateTime::UNIX_EPOCH),
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
                    r#"
                    SELECT /* ListAccounts */
                           id, CASE WHEN $5 THEN email END AS email, email_verified_at, goals, stage, graduated_at,
                        last_active_at, created_at, updated_at, version
                    FROM identity.users
                    WHERE (created_at, id) > ($1, $2) AND created_at < coalesce($3, 'infinity'::timestamptz)
                    ORDER BY created_at, id
                    LIMIT $4"#,
                    after.at,
                    after.id,
                    filter.created_before,
                    size.limit(),
                    with_email,
                )
                .fetch_all(&mut tx)
                .await?
            }
            Some(stage) => {
                sqlx::query_as!(
                    AccountRow,
                    r#"
                    SELECT /* ListAccounts, at a stage */
                           id, CASE WHEN $5 THEN email END AS email, email_verified_at, goals, stage, graduated_at,
                        last_active_at, created_at, updated_at, version
                    FROM identity.users
                    WHERE stage = $6 AND (created_at, id) > ($1, $2)
                        AND created_at < coalesce($3, 'infinity'::timestamptz)
                    ORDER BY created_at, id
                    LIMIT $4"#,
                    after.at,
                    after.id,
                    filter.created_before,
                    size.limit(),
                    with_email,
                    i16::from(stage.get()),
                )
                .fetch_all(&mut tx)
                .await?
            }
        };
        tx.commit().await?;
        Page::try_from_rows(rows, size)
    }
}
