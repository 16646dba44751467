//! Pages of a conversation, by keyset: a page costs what is on it, wherever in the conversation it is.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    page::PageSize,
};

use super::{Conversations, MessageRow};
use crate::domain::{
    message::{MessageNumber, SealedMessage},
    message_list::{Listing, MessageOrder},
};

/// Some of a person's messages.
#[derive(Debug)]
pub struct Page {
    /// In the order that was asked for.
    pub messages: Vec<SealedMessage>,
    /// Whether there are more after them.
    pub more: bool,
}

impl Conversations {
    /// The caller's messages that `listing` shows, at most `size` of them.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        caller: UserId,
        deadline: Deadline,
        listing: Listing,
        size: PageSize,
    ) -> Result<Page, DbError> {
        let size = usize::from(size.get());
        // One more than asked for shows whether there is a next page.
        let limit = size as i64 + 1;
        let after = listing.after.map_or(0, MessageNumber::get);
        let before = listing.before.map_or(i64::MAX, MessageNumber::get);
        let mut tx = self
            .database
            .begin("ListMessages", Context::User(caller), deadline)
            .await?;
        let mut rows = match listing.order {
            MessageOrder::OldestFirst => {
                sqlx::query_as!(
                    MessageRow,
                    "/* ListMessages, oldest first */
                    SELECT id, number, sender_type, message_text, key_id, created_at, updated_at, version
                    FROM data.conversations
                    WHERE user_id = $1 AND number > $2 AND number < $3
                    ORDER BY number
                    LIMIT $4",
                    caller.as_uuid(),
                    after,
                    before,
                    limit,
                )
                .fetch_all(&mut tx)
                .await?
            }
            MessageOrder::NewestFirst => {
                sqlx::query_as!(
                    MessageRow,
                    "/* ListMessages, newest first */
                    SELECT id, number, sender_type, message_text, key_id, created_at, updated_at, version
                    FROM data.conversations
                    WHERE user_id = $1 AND number > $2 AND number < $3
                    ORDER BY number DESC
                    LIMIT $4",
                    caller.as_uuid(),
                    after,
                    before,
                    limit,
                )
                .fetch_all(&mut tx)
                .await?
            }
        };
        tx.commit().await?;
        let more = rows.len() > size;
        rows.truncate(size);
        let messages = rows.into_iter().map(SealedMessage::try_from);
        Ok(Page {
            messages: messages.collect::<Result<_, _>>()?,
            more,
        })
    }
}
