//! ResolveCrisisEvent: stores that a service has followed up an event.

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
    /// Sets the resolution time of the event `id` of `person` to `at`, unless it is set, and returns the event; `None`
    /// when the person has no such event.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn resolve(
        &self,
        person: UserId,
        id: Uuid,
        at: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Option<CrisisEvent>, DbError> {
        let mut tx = self
            .database
            .begin("ResolveCrisisEvent", Context::ServiceFor(person), deadline)
            .await?;
        let row = sqlx::query_as!(
            EventRow,
            "
            UPDATE /* ResolveCrisisEvent */ data.crisis_events SET resolved_at = coalesce(resolved_at, $3)
            WHERE user_id = $1 AND id = $2
            RETURNING user_id, id, message_id, trigger_type, severity_level, resources_shown, followup_required,
                created_at, acknowledged_at, resolved_at",
            person.as_uuid(),
            id,
            at,
        )
        .fetch_optional(&mut tx)
        .await?;
        tx.commit().await?;
        row.map(CrisisEvent::try_from).transpose()
    }
}
