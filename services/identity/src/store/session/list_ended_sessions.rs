//! ListEndedSessions, and the same list for this service itself.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::{
    database::{Context, DbError, TenantTx},
    deadline::Deadline,
    page::Page,
};
use uuid::Uuid;

use super::Sessions;

/// The timeout of [`Sessions::all_ended`] and [`Sessions::ended_after`].
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
    pub async fn all_ended(&self, now: DateTime<Utc>) -> Result<Read, DbError> {
        let mut tx = self.begin_read("EndedSessions.load").await?;
        let row = sqlx::query!(
            r#"
            SELECT /* EndedSessions.load */ ARRAY(SELECT id FROM identity.ended_sessions WHERE expires_at > $1) AS "ids!",
                pg_snapshot_xmin(pg_current_snapshot())::text AS "oldest!""#,
            now - MAX_CLOCK_SKEW,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Read::new(row.ids, &row.oldest)
    }

    /// Reads the sessions that [`Sessions::all_ended`] would read, and that the read which ended at `place` did not. Some
    /// of those that it did are read again. `None` when the database went back in time, after a restore or a failover:
    /// what was added since then cannot be told from what was there before.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn ended_after(&self, place: Place, now: DateTime<Utc>) -> Result<Option<Read>, DbError> {
        let mut tx = self.begin_read("EndedSessions.later").await?;
        let row = sqlx::query!(
            r#"
            SELECT /* EndedSessions.later */ ARRAY(
                    SELECT id FROM identity.ended_sessions WHERE expires_at > $1 AND added_by >= ($2::text)::xid8) AS "ids!",
                pg_snapshot_xmin(pg_current_snapshot())::text AS "oldest!""#,
            now - MAX_CLOCK_SKEW,
            place.0.to_string(),
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        let read = Read::new(row.ids, &row.oldest)?;
        Ok((read.place >= place).then_some(read))
    }

    async fn begin_read(&self, name: &'static str) -> Result<TenantTx, DbError> {
        self.database
            .begin(name, Context::Service, Deadline::after(TIMEOUT))
            .await
    }
}

/// Where a read of the ended sessions ended: the oldest transaction that was running then. Each row that the read did not see
/// was added by this transaction or by a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u64);

/// Ended sessions, and where to read on.
#[derive(Debug)]
pub struct Read {
    /// The ids of the sessions.
    pub ids: Vec<Uuid>,
    /// The place for [`Sessions::ended_after`].
    pub place: Place,
}

impl Read {
    fn new(ids: Vec<Uuid>, oldest: &str) -> Result<Self, DbError> {
        let oldest = oldest.parse();
        let oldest = oldest.map_err(|_| DbError::unexpected("the number of a transaction"))?;
        Ok(Self {
            ids,
            place: Place(oldest),
        })
    }
}
