//! Pages of a conversation, by keyset: a page costs what is on it, wherever in the conversation it is.

use super::conversation::{Conversations, MessageRow};
use crate::domain::{
    listing::MessageOrder,
    message::{MessageNumber, SealedMessage},
};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    page::PageSize,
};

/// A page ends early once it has this many octets of sealed text (three quarters of which are text): 200 messages of
/// the largest size would be more than the 4 MiB that a gRPC client takes unless told otherwise.
const PAGE_OCTETS: i64 = 2 * 1024 * 1024;

/// Some of a person's messages.
#[derive(Debug)]
pub struct Page {
    /// In the order that was asked for.
    pub messages: Vec<SealedMessage>,
    /// Whether there may be more after them. When large messages ended the page early, the next one can be empty.
    pub more: bool,
}

impl Conversations {
    /// The caller's messages from the one after `after`, or from the first, in `order`: at most `size`, and fewer when
    /// they are large.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        caller: UserId,
        deadline: Deadline,
        order: MessageOrder,
        after: Option<MessageNumber>,
        size: PageSize,
    ) -> Result<Page, DbError> {
        let size = usize::from(size.get());
        // One more than asked for shows whether there is a next page.
        let limit = size as i64 + 1;
        let after = after.map(MessageNumber::get);
        let mut tx = self
            .database
            .begin("ListMessages", Context::User(caller), deadline)
            .await?;
        let rows = match order {
            MessageOrder::OldestFirst => {
                sqlx::query_as!(
                    MessageRow,
                    "/* ListMessages, oldest first */
                    SELECT id, number, sender_type, message_text, key_id, created_at, updated_at, version
                    FROM (
                        SELECT *,
                            sum(octet_length(message_text)) OVER (ORDER BY number) - octet_length(message_text)
                                AS octets_before
                        FROM (
                            SELECT * FROM data.conversations
                            WHERE user_id = $1 AND number > $2
                            ORDER BY number
                            LIMIT $3
                        ) AS page
                    ) AS measured
                    WHERE octets_before < $4
                    ORDER BY number",
                    caller.as_uuid(),
                    after.unwrap_or(0),
                    limit,
                    PAGE_OCTETS,
                )
                .fetch_all(&mut tx)
                .await?
            }
            MessageOrder::NewestFirst => {
                sqlx::query_as!(
                    MessageRow,
                    "/* ListMessages, newest first */
                    SELECT id, number, sender_type, message_text, key_id, created_at, updated_at, version
                    FROM (
                        SELECT *,
                            sum(octet_length(message_text)) OVER (ORDER BY number DESC) - octet_length(message_text)
                                AS octets_before
                        FROM (
                            SELECT * FROM data.conversations
                            WHERE user_id = $1 AND number < $2
                            ORDER BY number DESC
                            LIMIT $3
                        ) AS page
                    ) AS measured
                    WHERE octets_before < $4
                    ORDER BY number DESC",
                    caller.as_uuid(),
                    after.unwrap_or(i64::MAX),
                    limit,
                    PAGE_OCTETS,
                )
                .fetch_all(&mut tx)
                .await?
            }
        };
        tx.commit().await?;
        let octets: usize = rows.iter().map(|row| row.message_text.len()).sum();
        let more = rows.len() > size || octets >= PAGE_OCTETS as usize;
        let messages = rows
            .into_iter()
            .take(size)
            .map(SealedMessage::try_from)
            .collect::<Result<_, _>>()?;
        Ok(Page { messages, more })
    }
}
