//! Conversations: everybody's messages, and reading one of them. For storing one see [`append_message`], for changing and
//! deleting one [`update_message`], for pages of them [`list_messages`].

pub mod append_message;
pub mod finding;
pub mod list_messages;
pub mod update_message;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use crate::domain::{
    message::{MessageNumber, SealedMessage, SenderType},
    sealing::Sealed,
};

/// The messages of everybody, each reached only as the person whose it is.
#[derive(Clone, Debug)]
pub struct Conversations {
    pub(in crate::store) database: Arc<Database>,
}

/// A message as the table has it.
pub(in crate::store) struct MessageRow {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) number: i64,
    pub(in crate::store) sender_type: String,
    pub(in crate::store) message_text: String,
    pub(in crate::store) key_id: String,
    pub(in crate::store) created_at: DateTime<Utc>,
    pub(in crate::store) updated_at: DateTime<Utc>,
    pub(in crate::store) version: i64,
}

impl Conversations {
    /// The conversations in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// The caller's message with this id, if there is one.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn get(
        &self,
        caller: UserId,
        deadline: Deadline,
        id: Uuid,
    ) -> Result<Option<SealedMessage>, DbError> {
        let mut tx = self
            .database
            .begin("GetMessage", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            MessageRow,
            "/* GetMessage */
            SELECT id, number, sender_type, message_text, key_id, created_at, updated_at, version
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

impl TryFrom<MessageRow> for SealedMessage {
    type Error = DbError;

    fn try_from(row: MessageRow) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            number: MessageNumber::new(row.number)
                .ok_or_else(|| DbError::unexpected("the number of a message"))?,
            sender: SenderType::from_name(&row.sender_type)
                .ok_or_else(|| DbError::unexpected("the sender of a message"))?,
            text: Sealed {
                token: row.message_text,
                key_id: row.key_id,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        })
    }
}
