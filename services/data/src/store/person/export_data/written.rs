//! ExportData: reads a person's messages, analyses, jobs and crisis events.

use chrono::{DateTime, Utc};
use haven_platform::{call::UserId, cursor::Cursor, database::DbError, deadline::Deadline};
use uuid::Uuid;

use super::{Exports, MAX_BYTES, MAX_ROWS};
use crate::{
    domain::{
        analysis::SealedAnalysis,
        crisis::CrisisEvent,
        job::{Job, JobState},
        message::SealedMessage,
    },
    store::{
        analysis::{AnalysisRow, range},
        conversation::MessageRow,
        crisis::EventRow,
    },
};

impl Exports {
    /// Returns a page of the caller's messages after the number `after`, by number.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn messages(
        &self,
        caller: UserId,
        after: i64,
        deadline: Deadline,
    ) -> Result<Vec<SealedMessage>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            MessageRow,
            r#"
            SELECT /* ExportData, messages */
                   id AS "id!", number AS "number!", sender_type AS "sender_type!", message_text AS "message_text!",
                key_id AS "key_id!", created_at AS "created_at!", updated_at AS "updated_at!", version AS "version!"
            FROM (
                SELECT *, sum(octet_length(message_text)) OVER (ORDER BY number) AS bytes
                FROM data.conversations
                WHERE user_id = $1 AND number > $2
                ORDER BY number
                LIMIT $3
            ) AS page
            WHERE bytes - octet_length(message_text) < $4
            ORDER BY number"#,
            caller.as_uuid(),
            after,
            MAX_ROWS,
            MAX_BYTES,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        rows.into_iter().map(SealedMessage::try_from).collect()
    }

    /// Returns a page of the caller's analyses that end after the message number `after`, by that number.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn analyses(
        &self,
        caller: UserId,
        after: i64,
        deadline: Deadline,
    ) -> Result<Vec<SealedAnalysis>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            AnalysisRow,
            r#"
            SELECT /* ExportData, analyses */
                   id AS "id!", analysis_type AS "analysis_type!", chat_score AS "chat_score!",
                first_number AS "first_number!", last_number AS "last_number!", details AS "details!",
                key_id AS "key_id!", triggered_milestone, created_at AS "created_at!", version AS "version!"
            FROM (
                SELECT *, sum(octet_length(details)) OVER (ORDER BY last_number) AS bytes
                FROM data.analysis_results
                WHERE user_id = $1 AND last_number > $2
                ORDER BY last_number
                LIMIT $3
            ) AS page
            WHERE bytes - octet_length(details) < $4
            ORDER BY last_number"#,
            caller.as_uuid(),
            after,
            MAX_ROWS,
            MAX_BYTES,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        rows.into_iter().map(SealedAnalysis::try_from).collect()
    }

    /// Returns a page of the caller's jobs that end after the message number `after`, by that number.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn jobs(&self, caller: UserId, after: i64, deadline: Deadline) -> Result<Vec<Job>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            JobRow,
            "
            SELECT /* ExportData, jobs */ id, first_number, last_number, state, created_at
            FROM data.analysis_jobs
            WHERE user_id = $1 AND last_number > $2
            ORDER BY last_number
            LIMIT $3",
            caller.as_uuid(),
            after,
            MAX_ROWS,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        rows.into_iter().map(Job::try_from).collect()
    }

    /// Returns a page of the caller's crisis events after `after`, the oldest first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn crisis_events(
        &self,
        caller: UserId,
        after: Cursor,
        deadline: Deadline,
    ) -> Result<Vec<CrisisEvent>, DbError> {
        let mut tx = self.begin(caller, deadline).await?;
        let rows = sqlx::query_as!(
            EventRow,
            "
            SELECT /* ExportData, crisis events */
                   user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required,
                created_at, acknowledged_at, resolved_at
            FROM data.crisis_events
            WHERE user_id = $1 AND (created_at, id) > ($2, $3)
            ORDER BY created_at, id
            LIMIT $4",
            caller.as_uuid(),
            after.at,
            after.id,
            MAX_ROWS,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        rows.into_iter().map(CrisisEvent::try_from).collect()
    }
}

/// A row of `data.analysis_jobs`, with the columns that its person sees.
struct JobRow {
    id: Uuid,
    first_number: i64,
    last_number: i64,
    state: String,
    created_at: DateTime<Utc>,
}

impl TryFrom<JobRow> for Job {
    type Error = DbError;

    fn try_from(row: JobRow) -> Result<Self, DbError> {
        Ok(Self {
            id: row.id,
            range: range(row.first_number, row.last_number)?,
            state: JobState::from_name(&row.state)
                .ok_or_else(|| DbError::unexpected("the state of a job"))?,
            created_at: row.created_at,
        })
    }
}
