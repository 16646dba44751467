//! GetMessage: reads one message.

use haven_platform::{
    call::UserId,
    database::{Context, DbError},
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
        let mut tx = self
            .database
            .begin("GetMessage", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            MessageRow,
            "
            SELECT /* GetMessage */ id, number, sender_type, message_text, key_id, created_at, updated_at, version
            FROM data.conversations
            WHERE user_id = $1 AND id = $2",
            caller.as_uuid(),
            id,
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        row.map(SealedMessage::try_from).transpose()
    }
}
