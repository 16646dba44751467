//! Conversations: appending a message, and reading one. For pages of them see [`super::listing`].
//!
//! A message's number comes out of a counter row of its person, which the appending statement locks until the
//! transaction ends. So numbers have no gaps, become visible in order, and one person's writers wait for each other
//! and for nobody else's.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use thiserror::Error;
use uuid::Uuid;

use super::request::RequestKey;
use crate::domain::{
    message::{MessageNumber, SealedMessage, SenderType},
    sealing::Sealed,
};

/// The messages of everybody, each reached only as the person whose it is.
#[derive(Clone, Debug)]
pub struct Conversations {
    pub(super) database: Arc<Database>,
}

/// A message that is to be stored.
#[derive(Debug)]
pub struct NewMessage {
    /// Its id.
    pub id: Uuid,
    /// Who says it.
    pub sender: SenderType,
    /// The sealed text.
    pub text: Sealed,
    /// The time at which it is stored.
    pub created_at: DateTime<Utc>,
}

/// What is decided when a message is stored, and what a retry is told again. The rest of the answer is in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The message's id.
    pub id: Uuid,
    /// Its place in the conversation.
    pub number: MessageNumber,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// Why a message was not stored.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The person is not known here yet.
    #[error("the person is not provisioned")]
    AccountNotReady,
    /// The person was erased, and that is for ever.
    #[error("the person was erased")]
    AccountErased,
    /// The person has a message with this id, stored by another request.
    #[error("there is a message with this id")]
    MessageExists,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed.
    #[error(transparent)]
    Database(DbError),
}

// === impl Conversations ===

impl Conversations {
    /// The conversations in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Stores a message at the end of the caller's conversation; or, when `request` did so before, changes nothing and
    /// answers as it was answered then.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]. Nothing was stored then, unless it was the database that failed: a retry finds out.
    pub async fn append(
        &self,
        caller: UserId,
        deadline: Deadline,
        message: &NewMessage,
        request: RequestKey,
    ) -> Result<Appended, AppendError> {
        match self.try_append(caller, deadline, message, request).await {
            Err(AppendError::AccountNotReady) => return Err(self.why_unknown(caller, deadline).await),
            // Another transaction stored this request or this message after our statement began, and committed while it
            // waited for the counter. A statement that begins now sees it, and tells a retry from a reused id.
            Err(AppendError::Database(error))
                if matches!(error.constraint(), Some("requests_pkey" | "conversations_pkey")) => {}
            outcome => return outcome,
        }
        match self.try_append(caller, deadline, message, request).await {
            Err(AppendError::Database(error)) if error.constraint() == Some("conversations_pkey") => {
                Err(AppendError::MessageExists)
            }
            outcome => outcome,
        }
    }

    async fn try_append(
        &self,
        caller: UserId,
        deadline: Deadline,
        message: &NewMessage,
        request: RequestKey,
    ) -> Result<Appended, AppendError> {
        let mut tx = self
            .database
            .begin("AppendMessage", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query!(
            r#"/* AppendMessage */
            WITH prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), counter AS (
                INSERT INTO data.conversation_counters AS mine (user_id, last_number)
                SELECT $1, 1 WHERE NOT EXISTS (SELECT FROM prior)
                ON CONFLICT (user_id) DO UPDATE SET last_number = mine.last_number + 1
                RETURNING last_number
            ), message AS (
                INSERT INTO data.conversations
                    (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
                SELECT $1, $4, last_number, $5, $6, $7, $8, $8 FROM counter
                RETURNING id, number, created_at
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'AppendMessage', $3,
                    jsonb_build_object('message_id', id, 'number', number, 'created_at', created_at), created_at
                FROM message
            )
            SELECT true AS "same!", id, number, created_at FROM message
            UNION ALL
            SELECT payload_mac = $3 AND method = 'AppendMessage',
                (answer ->> 'message_id')::uuid, (answer ->> 'number')::bigint, (answer ->> 'created_at')::timestamptz
            FROM prior"#,
            caller.as_uuid(),
            request.id,
            &request.payload_mac,
            message.id,
            message.sender.as_str(),
            message.text.token,
            message.text.key_id,
            message.created_at,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        if !row.same {
            return Err(AppendError::RequestIdReused);
        }
        let number = row.number.and_then(MessageNumber::new);
        match (row.id, number, row.created_at) {
            (Some(id), Some(number), Some(created_at)) => Ok(Appended {
                id,
                number,
                created_at,
            }),
            _ => Err(AppendError::Database(DbError::unexpected(
                "the answer of a request",
            ))),
        }
    }

    /// Why somebody is not known here: not yet, or not any more. Asked only of who is not, so that nobody else pays for it.
    async fn why_unknown(&self, caller: UserId, deadline: Deadline) -> AppendError {
        match self.is_erased(caller, deadline).await {
            Ok(true) => AppendError::AccountErased,
            Ok(false) => AppendError::AccountNotReady,
            Err(error) => AppendError::Database(error),
        }
    }

    async fn is_erased(&self, caller: UserId, deadline: Deadline) -> Result<bool, DbError> {
        let mut tx = self
            .database
            .begin("AppendMessage", Context::User(caller), deadline)
            .await?;
        let erased = sqlx::query_scalar!(
            r#"/* AppendMessage, erased */
            SELECT EXISTS (SELECT FROM data.tombstones WHERE user_id = $1) AS "erased!""#,
            caller.as_uuid(),
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(erased)
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

// === impl AppendError ===

impl From<DbError> for AppendError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some("conversation_counters_user_id_fkey") => Self::AccountNotReady,
            _ => Self::Database(error),
        }
    }
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
