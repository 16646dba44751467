//! DeleteAnalysis: deletes one of the caller's analyses. Its job and the messages that it covers stay.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    request_key::RequestKey,
};
use thiserror::Error;
use uuid::Uuid;

use super::Analyses;
use crate::store::request::{id_taken, retry_once};

/// The error of DeleteAnalysis.
#[derive(Debug, Error)]
pub enum DeleteError {
    /// The person has no analysis with this id.
    #[error("the analysis does not exist")]
    NotFound,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed, or did not answer before the deadline.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Analyses {
    /// Deletes the caller's analysis `id` at the time `at`. When `request` was committed before, changes nothing.
    ///
    /// # Errors
    ///
    /// See [`DeleteError`].
    pub async fn delete(
        &self,
        caller: UserId,
        id: Uuid,
        request: RequestKey,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<(), DeleteError> {
        // An analysis that does not exist may have been deleted by an earlier try of the same request.
        let is_retryable = |error: &DeleteError| match error {
            DeleteError::NotFound => true,
            DeleteError::Database(error) => id_taken(error),
            DeleteError::RequestIdReused => false,
        };
        retry_once(is_retryable, || {
            self.try_delete(caller, id, request, at, deadline)
        })
        .await
    }

    async fn try_delete(
        &self,
        caller: UserId,
        id: Uuid,
        request: RequestKey,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<(), DeleteError> {
        let mut tx = self
            .database
            .begin("DeleteAnalysis", Context::User(caller), deadline)
            .await?;
        // The counter is locked first, to prevent a deadlock with an erasure: see `conversation::update_message`.
        let same = sqlx::query_scalar!(
            r#"
            WITH /* DeleteAnalysis */ prior AS (
                SELECT method, payload_mac FROM data.requests WHERE user_id = $1 AND id = $2
            ), turn AS (
                SELECT FROM data.conversation_counters WHERE user_id = $1 FOR NO KEY UPDATE
            ), gone AS (
                DELETE FROM data.analysis_results
                WHERE user_id = $1 AND id = $4 AND NOT EXISTS (SELECT FROM prior) AND EXISTS (SELECT FROM turn)
                RETURNING id
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'DeleteAnalysis', ($3::bytea[])[1], '{}', $5 FROM gone
            )
            SELECT true AS "same!" FROM gone
            UNION ALL
            SELECT payload_mac = ANY ($3) AND method = 'DeleteAnalysis' FROM prior"#,
            caller.as_uuid(),
            request.id,
            &request.payload_macs.to_vecs() as &[Vec<u8>],
            id,
            at,
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
