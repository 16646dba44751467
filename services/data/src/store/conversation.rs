//! Conversations: everybody's messages, and reading one of them. For storing one see [`super::append`], for changing and
//! deleting one [`super::message_change`], for pages of them [`super::listing`].

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
    pub(super) database: Arc<Database>,
}

/// A message as the table has it.
pub(super) struct MessageRow {
    pub(super) id: Uuid,
    pub(super) number: i64,
    pub(super) sender_type: String,
    pub(super) message_text: String,
    pub(super) key_id: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) version: i64,
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
