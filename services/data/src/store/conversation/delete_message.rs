//! DeleteMessage: deletes one of the caller's messages. Locks as UpdateMessage does, for the same reason.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    request_key::RequestKey,
};
use uuid::Uuid;

use super::{ChangeError, Conversations};
use crate::store::request::{id_taken, retry_once};

impl Conversations {
    /// Deletes the caller's message `id` at the time `at`. When `request` was committed before, changes nothing.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NotFound`], [`ChangeError::RequestIdReused`] and [`ChangeError::Database`]. Nothing is deleted
    /// then, except that after [`ChangeError::Database`] the commit may have succeeded: a retry gets its answer.
    pub async fn delete(
        &self,
        caller: UserId,
        id: Uuid,
        request: RequestKey,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<(), ChangeError> {
        // A message that does not exist may have been deleted by an earlier try of the same request.
        let is_retryable = |error: &ChangeError| match error {
            ChangeError::NotFound => true,
            ChangeError::Database(error) => id_taken(error),
            _ => false,
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
    ) -> Result<(), ChangeError> {
        let mut tx = self
            .database
            .begin("DeleteMessage", Context::User(caller), deadline)
            .await?;
        let same = sqlx::query_scalar!(
            r#"
            WITH /* DeleteMessage */ prior AS (
                SELECT method, payload_mac FROM data.requests WHERE user_id = $1 AND id = $2
            ), turn AS (
                SELECT FROM data.conversation_counters WHERE user_id = $1 FOR NO KEY UPDATE
            ), deleted AS (
                DELETE FROM data.conversations
                WHERE user_id = $1 AND id = $4 AND NOT EXISTS (SELECT FROM prior) AND EXISTS (SELECT FROM turn)
                RETURNING id
            ), request AS (
                INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
                SELECT $1, $2, 'DeleteMessage', ($3::bytea[])[1], jsonb_build_object('message_id', id), $5 FROM deleted
            )
            SELECT true AS "same!" FROM deleted
            UNION ALL
            SELECT payload_mac = ANY ($3) AND method = 'DeleteMessage' FROM prior"#,
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
            Some(false) => Err(ChangeError::RequestIdReused),
            None => Err(ChangeError::NotFound),
        }
    }
}
