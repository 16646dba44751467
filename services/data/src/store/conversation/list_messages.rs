//! ListMessages: reads pages of a conversation by keyset, so that the cost of a page does not depend on its position.

use haven_platform::{
    call::UserId,
    database::{Context, DbError, Effect},
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
        let rows = self
            .database
            .call("ListMessages", Context::User(caller), Effect::Reads, deadline)
            .fetch_all(|| {
                sqlx::query_as!(
                    MessageRow,
                    r#"
                    SELECT /* ListMessages */ id AS "id!", number AS "number!", sender_type AS "sender_type!",
                        message_text AS "message_text!", key_id AS "key_id!", created_at AS "created_at!",
                        updated_at AS "updated_at!", version AS "version!"
                    FROM data.list_messages_1($1, $2, $3, $4, $5)"#,
                    caller.as_uuid(),
                    after,
                    before,
                    listing.order == MessageOrder::NewestFirst,
                    size.limit(),
                )
            })
            .await?;
        Page::try_from_rows(rows, size)
    }
}
