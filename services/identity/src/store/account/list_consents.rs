//! The SQL of ListConsents: pages by keyset.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};
use uuid::Uuid;

use super::consent::{ConsentRow, Consents};
use crate::domain::consent::ConsentEntry;

impl Consents {
    /// Lists the caller's entries, newest first, from the one after the entry `after` or from the newest.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        caller: UserId,
        after: Option<Uuid>,
        size: PageSize,
        deadline: Deadline,
    ) -> Result<Page<ConsentEntry>, DbError> {
        let mut tx = self
            .database
            .begin("ListConsents", Context::User(caller), deadline)
            .await?;
        let rows = sqlx::query_as!(
            ConsentRow,
            "
            SELECT /* ListConsents */ id, document, document_version, granted_at, withdrawn_at FROM identity.consents
            WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
            caller.as_uuid(),
            // Ids are UUIDs of version 7: they are in the order of time, and always less than the maximum.
            after.unwrap_or(Uuid::max()),
            size.limit(),
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Page::try_from_rows(rows, size)
    }
}
