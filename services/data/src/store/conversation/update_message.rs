//! Changing a message of a person, and deleting one: each once, and a change based on a version that was seen.
//!
//! Both take the counter's lock before the row's, as whoever appends and whoever erases the person does: to remember
//! the request locks the person, by a foreign key, and an erasure that has the person waits for the row. So neither
//! waits for the other in a circle.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use sqlx::types::Json;
use thiserror::Error;
use uuid::Uuid;

use super::{
    Conversations,
    finding::{FindingRow, MessageFinding},
};
use crate::{
    domain::{message::MessageNumber, sealing::Sealed},
    store::request::{RequestKey, id_taken, retry_once},
};

/// What a message is to say instead.
#[derive(Debug)]
pub struct NewText {
    /// The message's id.
    pub id: Uuid,
    /// The version that the change is based on.
    pub expected_version: i64,
    /// The sealed text.
    pub text: Sealed,
    /// When it is changed.
    pub updated_at: DateTime<Utc>,
    /// What was found in it.
    pub finding: Option<MessageFinding>,
}

/// What is decided when a message is changed, and what a retry is told again. The rest of the answer is in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The message's place in the conversation.
    pub number: MessageNumber,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// When it was changed.
    pub updated_at: DateTime<Utc>,
    /// The version that it got.
    pub version: i64,
    /// What was found in the new text.
    pub finding: Option<MessageFinding>,
}

/// Why a message was neither changed nor deleted.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// The person has no such message.
    #[error("there is no such message")]
    NotFound,
    /// Somebody else said it.
    #[error("the person did not say this")]
    NotSaidByThem,
    /// It has another version than the change is based on.
    #[error("the message has version {current}")]
    VersionConflict {
        /// The version that it has.
        current: i64,
    },
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// What an update comes to.
enum Update {
    /// It is made, now or by the same request before.
    Made(Changed),
    /// The message had that version, and was changed or deleted by somebody else meanwhile.
    Overtaken,
}

// === impl Conversations ===

impl Conversations {
    /// Changes what the caller said; or, when `request` did so before, changes nothing and answers as it was answered
    /// then.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`]. Nothing was changed then, unless it was the database that failed: a retry finds out.
    pub async fn update(
        &self,
        caller: UserId,
        deadline: Deadline,
        change: &NewText,
        request: RequestKey,
    ) -> Result<Changed, ChangeError> {
        match self.try_update(caller, deadline, change, request).await {
            Ok(Update::Made(changed)) => return Ok(changed),
            Ok(Update::Overtaken) => {}
            // The id was taken for another message meanwhile.
            Err(ChangeError::Database(error)) if error.constraint() == Some("requests_pkey") => {}
            Err(error) => return Err(error),
        }
        match self.try_update(caller, deadline, change, request).await? {
            Update::Made(changed) => Ok(changed),
            // Versions only grow, so who was overtaken once sees another version, or no message.
            Update::Overtaken => Err(DbError::unexpected("a message was overtaken twice").into()),
        }
    }

    async fn try_update(
        &self,
        caller: UserId,
        deadline: Deadline,
        change: &NewText,
        request: RequestKey,
    ) -> Result<Update, ChangeError> {
        let mut tx = self
            .database
            .begin("UpdateMessage", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            UpdateRow,
            r#"/* UpdateMessage */
            WITH prior AS (
                SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
            ), turn AS (
                SELECT FROM data.conversation_counters WHERE user_id = $1 FOR NO KEY UPDATE
            ), changed AS (
                UPDATE data.conversations
                SET message_text = $6, key_id = $7, updated_at = $8, version = version + 1
                WHERE user_id = $1 AND id = $4 AND sender_type = 'user' AND version = $5
                    AND NOT EXISTS (SELECT FROM prior) AND EXISTS (SELECT FROM turn)
                RETURNING number, created_at, version
            ), event AS (
                INSERT INTO data.crisis_events (user_id, id, message_id, trigger_type, severity_level, resources_shown,
                    followup_required, created_at)
                SELECT $1, event_id, $4, trigger_type, severity_level, resources, followup_required, $8
                FROM changed, jsonb_to_record($9) AS found (
                    event_id uuid, trigger_type text, severity_level text, resources text[], followup_required boolean)
                WHERE $9 IS NOT NULL
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'UpdateMessage', $3,
                    jsonb_strip_nulls(jsonb_build_object(
                        'message_id', $4::uuid, 'number', number, 'created_at', created_at,
                        'updated_at', $8::timestamptz, 'version', version, 'finding', $9::jsonb)),
                    $8
                FROM changed
                RETURNING answer
            ), outcome AS (
                SELECT true AS same, answer FROM request
                UNION ALL
                SELECT payload_mac = $3 AND method = 'UpdateMessage', answer FROM prior
            )
            SELECT same,
                (answer ->> 'number')::bigint AS number,
                (answer ->> 'created_at')::timestamptz AS created_at,
                (answer ->> 'updated_at')::timestamptz AS updated_at,
                (answer ->> 'version')::bigint AS version,
                answer -> 'finding' AS "finding: Json<FindingRow>",
                found.version AS "found_version?",
                found.sender_type = 'user' AS said_by_them
            FROM (VALUES (true)) AS always
            LEFT JOIN outcome ON true
            LEFT JOIN data.conversations AS found ON found.user_id = $1 AND found.id = $4"#,
            caller.as_uuid(),
            request.id,
            &request.payload_mac,
            change.id,
            change.expected_version,
            change.text.token,
            change.text.key_id,
            change.updated_at,
            FindingRow::of(change.finding.as_ref()) as Option<Json<FindingRow>>,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        row.update(change.expected_version)
    }

    /// Deletes the caller's message `id` at the time `at`; or, when `request` did so before, changes nothing.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NotFound`], [`ChangeError::RequestIdReused`] and [`ChangeError::Database`]. Nothing was deleted
    /// then, unless it was the database that failed: a retry finds out.
    pub async fn delete(
        &self,
        caller: UserId,
        deadline: Deadline,
        id: Uuid,
        at: DateTime<Utc>,
        request: RequestKey,
    ) -> Result<(), ChangeError> {
        // Of a message that is gone, it may be the same request that deleted it.
        let again = |error: &ChangeError| match error {
            ChangeError::NotFound => true,
            ChangeError::Database(error) => id_taken(error),
            _ => false,
        };
        retry_once(again, || self.try_delete(caller, deadline, id, at, request)).await
    }

    async fn try_delete(
        &self,
        caller: UserId,
        deadline: Deadline,
        id: Uuid,
        at: DateTime<Utc>,
        request: RequestKey,
    ) -> Result<(), ChangeError> {
        let mut tx = self
            .database
            .begin("DeleteMessage", Context::User(caller), deadline)
            .await?;
        let same = sqlx::query_scalar!(
            r#"/* DeleteMessage */
            WITH prior AS (
                SELECT method, payload_mac FROM data.requests WHERE user_id = $1 AND id = $2
            ), turn AS (
                SELECT FROM data.conversation_counters WHERE user_id = $1 FOR NO KEY UPDATE
            ), deleted AS (
                DELETE FROM data.conversations
                WHERE user_id = $1 AND id = $4 AND NOT EXISTS (SELECT FROM prior) AND EXISTS (SELECT FROM turn)
                RETURNING id
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'DeleteMessage', $3, jsonb_build_object('message_id', id), $5 FROM deleted
            )
            SELECT true AS "same!" FROM deleted
            UNION ALL
            SELECT payload_mac = $3 AND method = 'DeleteMessage' FROM prior"#,
            caller.as_uuid(),
            request.id,
            &request.payload_mac,
            id,
            at,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        match same {
            Some(true) => Ok(()),
            Some(false) => Err(ChangeError::RequestIdReused),
            None => Err(ChangeError::NotFound),
        }
    }
}

/// An answer, if there is one, and the message as it was before, if there was one.
struct UpdateRow {
    same: Option<bool>,
    number: Option<i64>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    version: Option<i64>,
    finding: Option<Json<FindingRow>>,
    found_version: Option<i64>,
    said_by_them: Option<bool>,
}

impl UpdateRow {
    fn update(self, expected_version: i64) -> Result<Update, ChangeError> {
        match (self.same, self.said_by_them, self.found_version) {
            (Some(true), ..) => self.changed().map(Update::Made),
            (Some(false), ..) => Err(ChangeError::RequestIdReused),
            (None, Some(false), _) => Err(ChangeError::NotSaidByThem),
            (None, Some(true), Some(current)) if current == expected_version => Ok(Update::Overtaken),
            (None, Some(true), Some(current)) => Err(ChangeError::VersionConflict { current }),
            (None, ..) => Err(ChangeError::NotFound),
        }
    }

    fn changed(self) -> Result<Changed, ChangeError> {
        let number = self.number.and_then(MessageNumber::new);
        match (number, self.created_at, self.updated_at, self.version) {
            (Some(number), Some(created_at), Some(updated_at), Some(version)) => Ok(Changed {
                number,
                created_at,
                updated_at,
                version,
                finding: self.finding.map(|found| found.0.try_into()).transpose()?,
            }),
            _ => Err(DbError::unexpected("the answer of a request").into()),
        }
    }
}
