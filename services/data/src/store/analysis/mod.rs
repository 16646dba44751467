//! Analyses: reading and deleting what was found in a person's messages. For asking for one see
//! [`super::analysis_request`].

pub mod request_analysis;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
    page::PageSize,
};
use thiserror::Error;
use uuid::Uuid;

use super::request::{RequestKey, id_taken, retry_once};
use crate::domain::{
    analysis::{AnalysisType, ChatScore, MessageRange, SealedAnalysis},
    message::MessageNumber,
    milestone::Milestone,
    sealing::Sealed,
};

/// The analyses of everybody, each reached only as the person whose it is.
#[derive(Clone, Debug)]
pub struct Analyses {
    pub(in crate::store) database: Arc<Database>,
}

/// Some of a person's analyses.
#[derive(Debug)]
pub struct AnalysisPage {
    /// Those of the newest messages first.
    pub analyses: Vec<SealedAnalysis>,
    /// Whether there are more after them.
    pub more: bool,
}

/// Why an analysis was not deleted.
#[derive(Debug, Error)]
pub enum DeleteError {
    /// The person has none with this id.
    #[error("there is no such analysis")]
    NotFound,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

// === impl Analyses ===

impl Analyses {
    /// Those in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// The caller's analysis with this id, if there is one.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn get(
        &self,
        caller: UserId,
        deadline: Deadline,
        id: Uuid,
    ) -> Result<Option<SealedAnalysis>, DbError> {
        let mut tx = self
            .database
            .begin("GetAnalysis", Context::User(caller), deadline)
            .await?;
        let row = sqlx::query_as!(
            AnalysisRow,
            "/* GetAnalysis */
            SELECT id, analysis_type, chat_score, first_number, last_number, details, key_id, triggered_milestone,
                created_at, version
            FROM data.analysis_results
            WHERE user_id = $1 AND id = $2",
            caller.as_uuid(),
            id,
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        row.map(SealedAnalysis::try_from).transpose()
    }

    /// The caller's analyses of messages before `before`, or of all: at most `size`, those of the newest messages
    /// first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        caller: UserId,
        deadline: Deadline,
        before: Option<MessageNumber>,
        size: PageSize,
    ) -> Result<AnalysisPage, DbError> {
        let size = usize::from(size.get());
        let mut tx = self
            .database
            .begin("ListAnalyses", Context::User(caller), deadline)
            .await?;
        let rows = sqlx::query_as!(
            AnalysisRow,
            "/* ListAnalyses */
            SELECT id, analysis_type, chat_score, first_number, last_number, details, key_id, triggered_milestone,
                created_at, version
            FROM data.analysis_results
            WHERE user_id = $1 AND last_number < $2
            ORDER BY last_number DESC
            LIMIT $3",
            caller.as_uuid(),
            before.map_or(i64::MAX, MessageNumber::get),
            // One more than asked for shows whether there is a next page.
            size as i64 + 1,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let more = rows.len() > size;
        let analyses = rows
            .into_iter()
            .take(size)
            .map(SealedAnalysis::try_from)
            .collect::<Result<_, _>>()?;
        Ok(AnalysisPage { analyses, more })
    }

    /// Deletes an analysis of the caller; or, when `request` did so before, changes nothing. Its job stays, and so do
    /// the messages that it covers.
    ///
    /// # Errors
    ///
    /// See [`DeleteError`].
    pub async fn delete(
        &self,
        caller: UserId,
        deadline: Deadline,
        id: Uuid,
        request: RequestKey,
        now: DateTime<Utc>,
    ) -> Result<(), DeleteError> {
        // Of an analysis that is gone, it may be the same request that deleted it.
        let again = |error: &DeleteError| match error {
            DeleteError::NotFound => true,
            DeleteError::Database(error) => id_taken(error),
            DeleteError::RequestIdReused => false,
        };
        retry_once(again, || self.try_delete(caller, deadline, id, request, now)).await
    }

    async fn try_delete(
        &self,
        caller: UserId,
        deadline: Deadline,
        id: Uuid,
        request: RequestKey,
        now: DateTime<Utc>,
    ) -> Result<(), DeleteError> {
        let mut tx = self
            .database
            .begin("DeleteAnalysis", Context::User(caller), deadline)
            .await?;
        // The counter is locked first, for the reason that changing a message has: see `message_change`.
        let same = sqlx::query_scalar!(
            r#"/* DeleteAnalysis */
            WITH prior AS (
                SELECT method, payload_mac FROM data.requests WHERE user_id = $1 AND id = $2
            ), turn AS (
                SELECT FROM data.conversation_counters WHERE user_id = $1 FOR NO KEY UPDATE
            ), gone AS (
                DELETE FROM data.analysis_results
                WHERE user_id = $1 AND id = $4 AND NOT EXISTS (SELECT FROM prior) AND EXISTS (SELECT FROM turn)
                RETURNING id
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'DeleteAnalysis', $3, '{}', $5 FROM gone
            )
            SELECT true AS "same!" FROM gone
            UNION ALL
            SELECT payload_mac = $3 AND method = 'DeleteAnalysis' FROM prior"#,
            caller.as_uuid(),
            request.id,
            &request.payload_mac,
            id,
            now,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        tx.commit().await?;
        match same {
            Some(true) => Ok(()),
            Some(false) => Err(DeleteError::RequestIdReused),
            None => Err(DeleteError::NotFound),
        }
    }
}

/// An analysis as the table has it.
pub(in crate::store) struct AnalysisRow {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) analysis_type: String,
    pub(in crate::store) chat_score: i16,
    pub(in crate::store) first_number: i64,
    pub(in crate::store) last_number: i64,
    pub(in crate::store) details: String,
    pub(in crate::store) key_id: String,
    pub(in crate::store) triggered_milestone: Option<String>,
    pub(in crate::store) created_at: DateTime<Utc>,
    pub(in crate::store) version: i64,
}

impl TryFrom<AnalysisRow> for SealedAnalysis {
    type Error = DbError;

    fn try_from(row: AnalysisRow) -> Result<Self, DbError> {
        let milestone =
            |name| Milestone::parse(name).ok_or_else(|| DbError::unexpected("the milestone of an analysis"));
        Ok(Self {
            id: row.id,
            analysis_type: AnalysisType::from_name(&row.analysis_type)
                .ok_or_else(|| DbError::unexpected("the type of an analysis"))?,
            chat_score: ChatScore::new(row.chat_score)
                .ok_or_else(|| DbError::unexpected("the score of an analysis"))?,
            range: range(row.first_number, row.last_number)?,
            details: Sealed {
                token: row.details,
                key_id: row.key_id,
            },
            triggered_milestone: row.triggered_milestone.map(milestone).transpose()?,
            created_at: row.created_at,
            version: row.version,
        })
    }
}

/// The range between two numbers of a table.
pub(in crate::store) fn range(first: i64, last: i64) -> Result<MessageRange, DbError> {
    MessageNumber::new(first)
        .zip(MessageNumber::new(last))
        .map(|(first, last)| MessageRange { first, last })
        .ok_or_else(|| DbError::unexpected("the range of an analysis"))
}
