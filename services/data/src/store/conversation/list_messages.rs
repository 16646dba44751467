//! ListMessages: reads pages of a conversation by keyset, so that the cost of a page does not depend on its position.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};

use super::{Conversations, MessageRow};
use crate::domain::{
    message::{MessageNumber, SealedMessage},
    message_list::{Listing, MessageOrder},
};

impl Conversations {
    /// Returns the first page of the caller's messages in `listing`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        caller: UserId,
        listing: Listing,
        size: PageSize,
        deadline: Deadline,
    ) -> Result<Page<SealedMessage>, DbError> {
        let after = listing.after.map_or(0, MessageNumber::get);
        let before = listing.before.map_or(i64::MAX, MessageNumber::get);
        let mut tx = self
            .database
            .begin("ListMessages", Context::User(caller), deadline)
            .await?;
        let rows = match listing.order {
            MessageOrder::OldestFirst => {
                sqlx::query_as!(
                    MessageRow,
                    "
                    SELECT /* ListMessages, oldest first */
                           id, number, sender_type, message_text, key_id, created_at, updated_at, version
                    FROM data.conversations
                    WHERE user_id = $1 AND number > $2 AND number < $3
                    ORDER BY number
                    LIMIT $4",
                    caller.as_uuid(),
                    after,
                    before,
                    size.limit(),
                )
                .fetch_all(&mut tx)
                .await?
            }
            MessageOrder::NewestFirst => {
                sqlx::query_as!(
                    MessageRow,
                    "
                    SELECT /* ListMessages, newest first */
                           id, number, sender_type, message_text, key_id, created_at, updated_at, version
                    FROM data.conversations
                    WHERE user_id = $1 AND number > $2 AND number < $3
                    ORDER BY number DESC
                    LIMIT $4",
                    caller.as_uuid(),
                    after,
                    before,
                    size.limit(),
                )
                .fetch_all(&mut tx)
                .await?
            }
        };
        tx.commit().await?;
        Page::try_from_rows(rows, size)
    }
}
