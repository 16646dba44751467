//! GetMessage: reads one message.

use haven_platform::{
    call::UserId,
    database::{Context, DbError, Effect},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{Conversations, MessageRow};
use crate::domain::message::SealedMessage;

impl Conversations {
    /// Returns the caller's message with this id; `None` when it does not exist.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn get(
        &self,
        caller: UserId,
        id: Uuid,
        deadline: Deadline,
    ) -> Result<Option<SealedMessage>, DbError> {
        let row = self
            .database
            .call("GetMessage", Context::User(caller), Effect::Reads, deadline)
            .fetch_optional(|| {
                sqlx::query_as!(
                    MessageRow,
                    r#"
                    SELECT /* GetMessage */ id AS "id!", number AS "number!", sender_type AS "sender_type!",
                        message_text AS "message_text!", key_id AS "key_id!", created_at AS "created_at!",
                        updated_at AS "updated_at!", version AS "version!"
                    FROM data.get_message_1($1, $2)"#,
                    caller.as_uuid(),
                    id,
                )
            })
            .await?;
        row.map(SealedMessage::try_from).transpose()
    }
}
