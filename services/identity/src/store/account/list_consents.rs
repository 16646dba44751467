//! Pages of a person's ledger of consents, by keyset.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    page::PageSize,
};
use uuid::Uuid;

use crate::domain::consent::ConsentEntry;
use crate::store::account::consent::{ConsentRow, Consents};

/// Some of a person's consents.
#[derive(Debug)]
pub struct ConsentPage {
    /// The newest first.
    pub entries: Vec<ConsentEntry>,
    /// Whether there are more after them.
    pub more: bool,
}

impl Consents {
    /// The caller's entries from the one before the entry `after`, or from the newest: at most `size`.
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
    ) -> Result<ConsentPage, DbError> {
        let size = usize::from(size.get());
        let mut tx = self
            .database
            .begin("ListConsents", Context::User(caller), deadline)
            .await?;
        let rows = sqlx::query_as!(
            ConsentRow,
            "/* ListConsents */
            SELECT id, document, document_version, granted_at, withdrawn_at FROM identity.consents
            WHERE user_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
            caller.as_uuid(),
            // Ids are UUIDs of version 7: in the order of time, and never as large as this.
            after.unwrap_or(Uuid::max()),
            // One more than asked for shows whether there is a next page.
            size as i64 + 1,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let more = rows.len() > size;
        let entries = rows
            .into_iter()
            .take(size)
            .map(ConsentEntry::try_from)
            .collect::<Result<_, _>>()?;
        Ok(ConsentPage { entries, more })
    }
}
