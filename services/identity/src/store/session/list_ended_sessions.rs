//! ListEndedSessions, and the same list for this service itself.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::{
    auth::SessionDigest,
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
    pub async fn all_ended(&self, now: DateTime<Utc>) -> Result<Vec<SessionDigest>, DbError> {
        let mut tx = self
            .database
            .begin("EndedSessions.load", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let digests = sqlx::query_scalar!(
            "SELECT /* EndedSessions.load */ digest FROM identity.ended_sessions WHERE expires_at > $1",
            now - MAX_CLOCK_SKEW,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        digests.iter().map(|bytes| digest(bytes)).collect()
    }
}

/// Returns the digest that a row has.
fn digest(bytes: &[u8]) -> Result<SessionDigest, DbError> {
    SessionDigest::try_from(bytes).map_err(|_| DbError::unexpected("the digest of an ended session"))
}
