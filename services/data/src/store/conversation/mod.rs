//! Messages: the SQL of ConversationService.

pub mod append_message;
mod delete_message;
mod finding;
mod get_message;
mod list_messages;
pub mod update_message;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::database::{Database, DbError};
use thiserror::Error;
use uuid::Uuid;

use crate::domain::{
    message::{MessageNumber, SealedMessage, SenderType},
    sealing::Sealed,
};

/// The table of messages. Row Level Security limits each call to the messages of its caller.
#[derive(Clone, Debug)]
pub struct Conversations {
    database: Arc<Database>,
}

/// A row of `data.conversations`.
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

/// The error of UpdateMessage and DeleteMessage.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// The person has no message with this id.
    #[error("the message does not exist")]
    NotFound,
    /// The sender of the message is the coach or the product.
    #[error("the message is not the person's own")]
    NotOwnMessage,
    /// The message has another version than the change is based on.
    #[error("the message has version {current}")]
    VersionConflict {
        /// The version of the message.
        current: i64,
    },
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed, or did not answer before the deadline.
    #[error(transparent)]
    Database(#[from] DbError),
}

// === impl Conversations ===

impl Conversations {
    /// Returns the table of messages in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}

// === impl MessageRow ===

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
