//! ListEndedSessions, and the same list for this service itself.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::{
    auth::SessionDigest,
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

/// An ended session.
#[derive(Clone, Copy, Debug)]
pub struct EndedSession {
    /// The digest of its person and its id.
    pub digest: SessionDigest,
    /// Its id, for services that compare ids.
    pub id: Uuid,
}

impl Sessions {
    /// Lists up to `size` ended sessions with access tokens that may not have expired at `now` by a clock that is five
    /// minutes behind, by digest, from the one after `after` or from the first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list_ended(
        &self,
        after: Option<SessionDigest>,
        size: u16,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Page<EndedSession>, DbError> {
        let size = usize::from(size);
        let mut tx = self
            .database
            .begin("ListEndedSessions", Context::Service, deadline)
            .await?;
        // Sorts before every digest.
        let after = after.map_or_else(Vec::new, |after| after.to_bytes().to_vec());
        let rows = sqlx::query!(
            "
            SELECT /* ListEndedSessions */
                   digest, id FROM identity.ended_sessions WHERE digest > $1 AND expires_at > $2 ORDER BY digest LIMIT $3",
            after,
            now - MAX_CLOCK_SKEW,
            // Reads one row more than the page has, which shows whether the list goes on.
            size as i64 + 1,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let more = rows.len() > size;
        let sessions = rows.into_iter().take(size).map(|row| {
            Ok(EndedSession {
                digest: digest(&row.digest)?,
                id: row.id,
            })
        });
        Ok(Page {
            items: sessions.collect::<Result<_, DbError>>()?,
            more,
        })
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
            SELECT /* EndedSessions.load */ ARRAY(SELECT digest FROM identity.ended_sessions WHERE expires_at > $1) AS "digests!",
                pg_snapshot_xmin(pg_current_snapshot())::text AS "oldest!""#,
            now - MAX_CLOCK_SKEW,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Read::new(&row.digests, &row.oldest)
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
                    SELECT digest FROM identity.ended_sessions WHERE expires_at > $1 AND added_by >= ($2::text)::xid8) AS "digests!",
                pg_snapshot_xmin(pg_current_snapshot())::text AS "oldest!""#,
            now - MAX_CLOCK_SKEW,
            place.0.to_string(),
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        let read = Read::new(&row.digests, &row.oldest)?;
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
    /// The digests of the sessions.
    pub digests: Vec<SessionDigest>,
    /// The place for [`Sessions::ended_after`].
    pub place: Place,
}

impl Read {
    fn new(digests: &[Vec<u8>], oldest: &str) -> Result<Self, DbError> {
        let oldest = oldest.parse();
        let oldest = oldest.map_err(|_| DbError::unexpected("the number of a transaction"))?;
        Ok(Self {
            digests: digests
                .iter()
                .map(|bytes| digest(bytes))
                .collect::<Result<_, _>>()?,
            place: Place(oldest),
        })
    }
}

/// Returns the digest that a row has.
fn digest(bytes: &[u8]) -> Result<SessionDigest, DbError> {
    SessionDigest::try_from(bytes).map_err(|_| DbError::unexpected("the digest of an ended session"))
}
