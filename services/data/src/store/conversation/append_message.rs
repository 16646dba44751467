//! AppendMessage: stores a message, the analysis job that every 25th message of a person creates, and the crisis event of a
//! finding.
//!
//! A message's number comes from a counter row of its person, which the statement locks until the transaction ends. So
//! numbers have no gaps and become visible in order, and only writers of the same person wait for each other. The same row
//! counts the messages that no job covers yet.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    request_key::RequestKey,
};
use sqlx::types::Json;
use thiserror::Error;
use uuid::Uuid;

use super::{Conversations, finding::FindingRow};
use crate::{
    domain::{
        crisis::MessageFinding,
        job::{MESSAGES_PER_JOB, PRIORITY_AUTOMATIC},
        message::{MessageNumber, NewMessage, SenderType},
    },
    store::{
        person_status::{self, Unknown},
        request::{breaks, retry_once},
    },
};

/// The stored part of an answer to AppendMessage, which a retry gets again. The rest of the answer is in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The message's id.
    pub id: Uuid,
    /// The message's number in the conversation.
    pub number: MessageNumber,
    /// The time at which the message was stored.
    pub created_at: DateTime<Utc>,
    /// The finding in the message.
    pub finding: Option<MessageFinding>,
    /// Whether this call created an analysis job. False for a retry.
    pub created_job: bool,
}

/// The error of AppendMessage.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The person is not provisioned, or was erased.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// Another request stored a message with this id.
    #[error("a message with this id exists")]
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
    /// Stores a message at the end of the caller's conversation. When `request` was committed before, changes nothing and
    /// returns the same answer.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]. Nothing is stored then, except that after [`AppendError::Database`] the commit may have
    /// succeeded: a retry gets its answer.
    pub async fn append(
        &self,
        caller: UserId,
        message: &NewMessage,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Appended, AppendError> {
        let taken = ["requests_pkey", "conversations_pkey"];
        let is_retryable =
            |error: &AppendError| matches!(error, AppendError::Database(error) if breaks(error, &taken));
        let appended = retry_once(is_retryable, || {
            self.try_append(caller, message, request, deadline)
        })
        .await;
        match appended {
            Err(AppendError::Database(error)) if breaks(&error, &["conversations_pkey"]) => {
                Err(AppendError::MessageExists)
            }
            Err(AppendError::Database(error)) => {
                Err(person_status::explained(error, &self.database, "AppendMessage", caller, deadline).await)
            }
            outcome => outcome,
        }
    }

    async fn try_append(
        &self,
        caller: UserId,
        message: &NewMessage,
        request: RequestKey,
        deadline: Deadline,
    ) -> Result<Appended, AppendError> {
        let context = match message.sender {
            SenderType::User => Context::User(caller),
            SenderType::Coach | SenderType::System => Context::ServiceFor(caller),
        };
        let mut tx = self.database.begin("AppendMessage", context, deadline).await?;
        let row = match message.sender {
            SenderType::User => append_by_person(&mut tx, caller, message, request).await?,
            SenderType::Coach | SenderType::System => {
                append_by_service(&mut tx, caller, message, request).await?
            }
        };
        tx.commit().await?;
        row.try_into()
    }
}

/// Stores a message of the person, with the person's context.
async fn append_by_person(
    tx: &mut TenantTx,
    caller: UserId,
    message: &NewMessage,
    request: RequestKey,
) -> Result<AppendedRow, DbError> {
    let row = sqlx::query_as!(
        AppendedRow,
        r#"/* AppendMessage */
        WITH prior AS (
            SELECT method, payload_mac, answer FROM data.requests WHERE user_id = $1 AND id = $2
        ), counter AS (
            INSERT INTO data.conversation_counters AS mine (user_id, last_number, pending_messages, pending_from)
            SELECT $1, 1, 1, 1 WHERE NOT EXISTS (SELECT FROM prior)
            ON CONFLICT (user_id) DO UPDATE SET
                last_number = mine.last_number + 1,
                pending_messages = (mine.pending_messages + 1) % $11::smallint,
                pending_from = CASE mine.pending_messages WHEN 0 THEN mine.last_number + 1 ELSE mine.pending_from END
            RETURNING last_number, pending_messages, pending_from
        ), message AS (
            INSERT INTO data.conversations
                (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
            SELECT $1, $4, last_number, $5, $6, $7, $8, $8 FROM counter
        ), job AS (
            INSERT INTO data.analysis_jobs
                (user_id, id, first_number, last_number, requested, priority, start_after, created_at)
            SELECT $1, $10, pending_from, last_number, false, $12, now(), $8 FROM counter WHERE pending_messages = 0
            RETURNING id
        ), event AS (
            INSERT INTO data.crisis_events
                (user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required, created_at)
            SELECT $1, event_id, $4, trigger_type, severity_level, resources, followup_required, $8
            FROM counter, jsonb_to_record($9) AS found (
                event_id uuid, trigger_type text, severity_level text, resources text[], followup_required boolean)
            WHERE $9 IS NOT NULL
        ), request AS (
            INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
            SELECT $1, $2, 'AppendMessage', $3,
                jsonb_strip_nulls(jsonb_build_object(
                    'message_id', $4::uuid, 'number', last_number, 'created_at', $8::timestamptz, 'finding', $9::jsonb)),
                $8
            FROM counter
            RETURNING answer
        ), outcome AS (
            SELECT true AS same, EXISTS (SELECT FROM job) AS makes_job, answer FROM request
            UNION ALL
            SELECT payload_mac = $3 AND method = 'AppendMessage', false, answer FROM prior
        )
        SELECT same AS "same!", makes_job AS "makes_job!",
            (answer ->> 'message_id')::uuid AS id,
            (answer ->> 'number')::bigint AS number,
            (answer ->> 'created_at')::timestamptz AS created_at,
            answer -> 'finding' AS "finding: Json<FindingRow>"
        FROM outcome"#,
        caller.as_uuid(),
        request.id,
        &request.payload_mac,
        message.id,
        message.sender.as_str(),
        message.text.token,
        message.text.key_id,
        message.created_at,
        FindingRow::from_finding(message.finding.as_ref()) as Option<Json<FindingRow>>,
        message.job_id,
        MESSAGES_PER_JOB,
        PRIORITY_AUTOMATIC,
    )
    .fetch_one(tx)
    .await?;
    Ok(row)
}

/// Stores a message of the coach or of the product, with the service's context. The message is not searched for a crisis, and
/// creates no job.
async fn append_by_service(
    tx: &mut TenantTx,
    caller: UserId,
    message: &NewMessage,
    request: RequestKey,
) -> Result<AppendedRow, DbError> {
    let row = sqlx::query_as!(
        AppendedRow,
        r#"/* AppendMessage, by a service */
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
        ), request AS (
            INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
            SELECT $1, $2, 'AppendMessage', $3,
                jsonb_build_object('message_id', $4::uuid, 'number', last_number, 'created_at', $8::timestamptz), $8
            FROM counter
            RETURNING answer
        ), outcome AS (
            SELECT true AS same, answer FROM request
            UNION ALL
            SELECT payload_mac = $3 AND method = 'AppendMessage', answer FROM prior
        )
        SELECT same AS "same!", false AS "makes_job!",
            (answer ->> 'message_id')::uuid AS id,
            (answer ->> 'number')::bigint AS number,
            (answer ->> 'created_at')::timestamptz AS created_at,
            answer -> 'finding' AS "finding: Json<FindingRow>"
        FROM outcome"#,
        caller.as_uuid(),
        request.id,
        &request.payload_mac,
        message.id,
        message.sender.as_str(),
        message.text.token,
        message.text.key_id,
        message.created_at,
    )
    .fetch_one(tx)
    .await?;
    Ok(row)
}

/// An answer: that of this call, or that of the request with the same id.
struct AppendedRow {
    same: bool,
    makes_job: bool,
    id: Option<Uuid>,
    number: Option<i64>,
    created_at: Option<DateTime<Utc>>,
    finding: Option<Json<FindingRow>>,
}

impl TryFrom<AppendedRow> for Appended {
    type Error = AppendError;

    fn try_from(row: AppendedRow) -> Result<Self, AppendError> {
        if !row.same {
            return Err(AppendError::RequestIdReused);
        }
        let number = row.number.and_then(MessageNumber::new);
        match (row.id, number, row.created_at) {
            (Some(id), Some(number), Some(created_at)) => Ok(Self {
                id,
                number,
                created_at,
                finding: row.finding.map(|found| found.0.try_into()).transpose()?,
                created_job: row.makes_job,
            }),
            _ => Err(DbError::unexpected("the answer of a request").into()),
        }
    }
}

impl From<DbError> for AppendError {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}
