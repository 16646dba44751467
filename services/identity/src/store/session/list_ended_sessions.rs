//! ListEndedSessions, and the same list for this service itself.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::{
    database::{Context, DbError},
    deadline::Deadline,
    page::Page,
};
use uuid::Uuid;

use super::Sessions;

/// The timeout of [`Sessions::all_ended`].
const TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum by which the clock of a service that verifies tokens may be behind. An ended session is listed for this
/// time after its access tokens have expired.
const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

impl Sessions {
    /// Lists up to `size` ended sessions with access tokens that may not have expired at `now` by a clock that is five
    /// minutes behind, by id, from the one after `after` or from the first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list_ended(
        &self,
        after: Option<Uuid>,
        size: u16,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Page<Uuid>, DbError> {
        let size = usize::from(size);
        let mut tx = self
            .database
            .begin("ListEndedSessions", Context::Service, deadline)
            .await?;
        let mut ids = sqlx::query_scalar!(
            "
            SELECT /* ListEndedSessions */
                   id FROM identity.ended_sessions WHERE id > $1 AND expires_at > $2 ORDER BY id LIMIT $3",
            after.unwrap_or(Uuid::nil()),
            now - MAX_CLOCK_SKEW,
            // Reads one row more than the page has, which shows whether the list goes on.
            size as i64 + 1,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let more = ids.len() > size;
        ids.truncate(size);
        Ok(Page { items: ids, more })
    }

    /// Reads all sessions that [`Sessions::list_ended`] lists, for this service itself.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn all_ended(&self, now: DateTime<Utc>) -> Result<Vec<Uuid>, DbError> {
        let mut tx = self
            .database
            .begin("EndedSessions.load", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let ids = sqlx::query_scalar!(
            "SELECT /* EndedSessions.load */ id FROM identity.ended_sessions WHERE expires_at > $1",
            now - MAX_CLOCK_SKEW,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(ids)
    }
}
