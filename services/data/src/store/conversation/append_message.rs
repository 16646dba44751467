//! Appending a message, with what comes of it: the job that every 25th message of a person makes, and the event of a
//! crisis that was found.
//!
//! A message's number comes out of a counter row of its person, which the appending statement locks until the
//! transaction ends. So numbers have no gaps, become visible in order, and one person's writers wait for each other
//! and for nobody else's. The same row counts the messages that no job covers yet.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, TenantTx},
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
    domain::{
        analysis::{BATCH, PRIORITY_AUTOMATIC},
        message::{MessageNumber, SenderType},
        sealing::Sealed,
    },
    store::{
        person_status::{self, Unknown},
        request::{RequestKey, breaks, retry_once},
    },
};

/// A message that is to be stored.
#[derive(Debug)]
pub struct NewMessage {
    /// Its id.
    pub id: Uuid,
    /// Who says it: the person themselves, or somebody for whom a service speaks.
    pub sender: SenderType,
    /// The sealed text.
    pub text: Sealed,
    /// The time at which it is stored.
    pub created_at: DateTime<Utc>,
    /// What was found in it, where the person says it.
    pub finding: Option<MessageFinding>,
    /// The id that the job gets, if this message makes one.
    pub job_id: Uuid,
}

/// What is decided when a message is stored, and what a retry is told again. The rest of the answer is in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The message's id.
    pub id: Uuid,
    /// Its place in the conversation.
    pub number: MessageNumber,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
    /// What was found in it.
    pub finding: Option<MessageFinding>,
    /// Whether it made a job, just now.
    pub makes_job: bool,
}

/// Why a message was not stored.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The person is not known here.
    #[error(transparent)]
    Unknown(#[from] Unknown),
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
    /// Stores a message at the end of `owner`'s conversation; or, when `request` did so before, changes nothing and
    /// answers as it was answered then.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]. Nothing was stored then, unless it was the database that failed: a retry finds out.
    pub async fn append(
        &self,
        owner: UserId,
        deadline: Deadline,
        message: &NewMessage,
        request: RequestKey,
    ) -> Result<Appended, AppendError> {
        let taken = ["requests_pkey", "conversations_pkey"];
        let again =
            |error: &AppendError| matches!(error, AppendError::Database(error) if breaks(error, &taken));
        let appended = retry_once(again, || self.try_append(owner, deadline, message, request)).await;
        match appended {
            Err(AppendError::Database(error)) if breaks(&error, &["conversations_pkey"]) => {
                Err(AppendError::MessageExists)
            }
            Err(AppendError::Database(error)) => {
                Err(person_status::explained(error, &self.database, "AppendMessage", owner, deadline).await)
            }
            outcome => outcome,
        }
    }

    async fn try_append(
        &self,
        owner: UserId,
        deadline: Deadline,
        message: &NewMessage,
        request: RequestKey,
    ) -> Result<Appended, AppendError> {
        let context = match message.sender {
            SenderType::User => Context::User(owner),
            SenderType::Coach | SenderType::System => Context::ServiceFor(owner),
        };
        let mut tx = self.database.begin("AppendMessage", context, deadline).await?;
        let row = match message.sender {
            SenderType::User => append_of_person(&mut tx, owner, message, request).await?,
            SenderType::Coach | SenderType::System => {
                append_of_service(&mut tx, owner, message, request).await?
            }
        };
        tx.commit().await?;
        row.try_into()
    }
}

/// What the person says: as themselves.
async fn append_of_person(
    tx: &mut TenantTx,
    owner: UserId,
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
        owner.as_uuid(),
        request.id,
        &request.payload_mac,
        message.id,
        message.sender.as_str(),
        message.text.token,
        message.text.key_id,
        message.created_at,
        FindingRow::of(message.finding.as_ref()) as Option<Json<FindingRow>>,
        message.job_id,
        BATCH,
        PRIORITY_AUTOMATIC,
    )
    .fetch_one(tx)
    .await?;
    Ok(row)
}

/// What the coach or the product says: as the service. Nothing is looked for in it, and it makes no job.
async fn append_of_service(
    tx: &mut TenantTx,
    owner: UserId,
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
        owner.as_uuid(),
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

/// What an append comes to: its own answer, or that of the request that has its id.
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
                makes_job: row.makes_job,
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
