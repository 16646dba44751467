//! AcknowledgeCrisisEvent: stores that the person has seen an event.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use super::{CrisisEvents, EventRow};
use crate::domain::crisis::CrisisEvent;

impl CrisisEvents {
    /// Sets the acknowledgement time of the caller's event `id` to `at`, unless it is set, and returns the event;
    /// `None` when the caller has no such event.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn acknowledge(
        &self,
        caller: UserId,
        id: Uuid,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Option<CrisisEvent>, DbError> {
        let mut tx = self
            .database
            .begin("AcknowledgeCrisisEvent", Context::User(caller), deadline)
            .await?;
        // Concurrent calls wait for each other's row lock, and each sees the time that the first one set.
        let row = sqlx::query_as!(
            EventRow,
            "
            UPDATE /* AcknowledgeCrisisEvent */ data.crisis_events SET acknowledged_at = coalesce(acknowledged_at, $3)
            WHERE user_id = $1 AND id = $2
            RETURNING user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required,
                created_at, acknowledged_at, resolved_at",
            caller.as_uuid(),
            id,
            at,
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        row.map(CrisisEvent::try_from).transpose()
    }
}
