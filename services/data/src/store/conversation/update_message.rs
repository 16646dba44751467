//! UpdateMessage: replaces the text of one of the caller's own messages, if it has the expected version.
//!
//! The statement locks the person's counter before the message's row, as AppendMessage and an erasure do. To store the
//! request id it locks the person's row, because of a foreign key, and an erasure that has locked the person's row
//! waits for the message's row. The common first lock prevents a deadlock between the two.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    request_key::RequestKey,
};
use sqlx::types::Json;

use super::{ChangeError, Conversations, finding::FindingRow};
use crate::domain::{
    crisis::MessageFinding,
    message::{MessageNumber, NewText},
};

/// The stored part of an answer to UpdateMessage, which a retry gets again. The rest of the answer is in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The message's number in the conversation.
    pub number: MessageNumber,
    /// The time at which the message was stored.
    pub created_at: DateTime<Utc>,
    /// The time of the update.
    pub updated_at: DateTime<Utc>,
    /// The message's new version.
    pub version: i64,
    /// The finding in the new text.
    pub finding: Option<MessageFinding>,
}

/// The outcome of one attempt.
enum Attempt {
    /// The message is updated, by this attempt or by an earlier try of the same request.
    Updated(Updated),
    /// The message had the expected version when the statement began, and was changed or deleted by another request
    /// before the statement got the lock.
    Overtaken,
}

// === impl Conversations ===

impl Conversations {
    /// Replaces the text of one of the caller's own messages. When `request` was committed before, changes nothing and
    /// returns the same answer.
    ///
    /// # Errors
    ///
    /// See [`ChangeError`]. Nothing is changed then, except that after [`ChangeError::Database`] the commit may have
    /// succeeded: a retry gets its answer.
    pub async fn update(
        &self,
        caller: UserId,
        new_text: &NewText,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Updated, ChangeError> {
        match self.try_update(caller, new_text, request, deadline).await {
            Ok(Attempt::Updated(updated)) => return Ok(updated),
            Ok(Attempt::Overtaken) => {}
            // Another request was stored under the request id during the attempt.
            Err(ChangeError::Database(error)) if error.constraint() == Some("requests_pkey") => {}
            Err(error) => return Err(error),
        }
        match self.try_update(caller, new_text, request, deadline).await? {
            Attempt::Updated(updated) => Ok(updated),
            // Versions only grow, so the second attempt sees another version, or no message.
            Attempt::Overtaken => Err(DbError::unexpected("a message was overtaken twice").into()),
        }
    }

    async fn try_update(
        &self,
        caller: UserId,
        new_text: &NewText,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Attempt, ChangeError> {
        let mut tx = self
            .database
            .begin("UpdateMessage", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            UpdateRow,
            r#"
            WITH /* UpdateMessage */ prior AS (
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
                SELECT $1, $2, 'UpdateMessage', ($3::bytea[])[1],
                    jsonb_strip_nulls(jsonb_build_object(
                        'message_id', $4::uuid, 'number', number, 'created_at', created_at,
                        'updated_at', $8::timestamptz, 'version', version, 'finding', $9::jsonb)),
                    $8
                FROM changed
                RETURNING answer
            ), outcome AS (
                SELECT true AS same, answer FROM request
                UNION ALL
                SELECT payload_mac = ANY ($3) AND method = 'UpdateMessage', answer FROM prior
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
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            new_text.id,
            new_text.expected_version,
            new_text.text.token,
            new_text.text.key_id,
            new_text.updated_at,
            FindingRow::from_finding(new_text.finding.as_ref()) as Option<Json<FindingRow>>,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        row.into_attempt(new_text.expected_version)
    }
}

/// The answer, if there is one, and the message as it was before, if it existed.
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
    fn into_attempt(self, expected_version: i64) -> Result<Attempt, ChangeError> {
        match (self.same, self.said_by_them, self.found_version) {
            (Some(true), ..) => self.updated().map(Attempt::Updated),
            (Some(false), ..) => Err(ChangeError::RequestIdReused),
            (None, Some(false), _) => Err(ChangeError::NotOwnMessage),
            (None, Some(true), Some(current)) if current == expected_version => Ok(Attempt::Overtaken),
            (None, Some(true), Some(current)) => Err(ChangeError::VersionConflict { current }),
            (None, ..) => Err(ChangeError::NotFound),
        }
    }

    fn updated(self) -> Result<Updated, ChangeError> {
        let number = self.number.and_then(MessageNumber::new);
        match (number, self.created_at, self.updated_at, self.version) {
            (Some(number), Some(created_at), Some(updated_at), Some(version)) => Ok(Updated {
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
