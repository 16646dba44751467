//! Sessions: ending and listing them. For beginning one see [`super::sign_in`], for refreshing [`super::refresh`].
//!
//! Whatever locks more than one row of a person does so in this order, or two calls could wait for each other: the
//! account, its sessions, their tokens, wrong passwords, the end of the audit log.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
    page::PageSize,
};
use uuid::Uuid;

use crate::domain::{
    audit::{AuditEventType, NewAuditEvent, Origin},
    session::{EndReason, ListedSession},
};
use crate::store::audit_log as audit;

/// How long the service's own look at what ended may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// By how much the clocks of those who verify tokens may be slow: an ended session is listed for so much longer than its
/// tokens live.
const SKEW: TimeDelta = TimeDelta::minutes(5);

/// The sessions of everybody, each reached only as the person whose it is.
#[derive(Clone, Debug)]
pub struct Sessions {
    pub(in crate::store) database: Arc<Database>,
}

/// A session that its person wants to end.
#[derive(Clone, Copy, Debug)]
pub struct Ending<'a> {
    /// Whose it is.
    pub user_id: UserId,
    /// Which.
    pub session_id: Uuid,
    /// Why it ends.
    pub reason: EndReason,
    /// Where the call came from.
    pub origin: &'a Origin,
    /// When it ends.
    pub at: DateTime<Utc>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ended now.
    Now,
    /// It had ended before, and nothing was changed.
    Before,
    /// The person has no such session.
    Unknown,
}

/// Some of a person's sessions.
#[derive(Debug)]
pub struct Page {
    /// The newest first.
    pub sessions: Vec<ListedSession>,
    /// Whether there are more after them.
    pub more: bool,
}

/// Some of the sessions that ended.
#[derive(Debug)]
pub struct EndedPage {
    /// Their ids, upwards.
    pub ids: Vec<Uuid>,
    /// Whether there are more after them.
    pub more: bool,
}

// === impl Sessions ===

impl Sessions {
    /// The sessions in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Ends a session, and writes that into the audit log when it had not ended before.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn end(&self, ending: Ending<'_>, deadline: Deadline) -> Result<Ended, DbError> {
        let mut tx = self
            .database
            .begin("EndSession", Context::User(ending.user_id), deadline)
            .await?;
        // The account is locked first, as whoever deletes it does.
        let row = sqlx::query!(
            r#"/* EndSession */
            WITH person AS MATERIALIZED (
                SELECT id FROM identity.users WHERE id = $1 FOR KEY SHARE
            ), chosen AS MATERIALIZED (
                SELECT session.id FROM person JOIN identity.sessions AS session ON session.user_id = person.id
                WHERE session.id = $2
            )
            SELECT ended.session_id IS NOT NULL AS "now!"
            FROM chosen LEFT JOIN LATERAL identity.end_sessions(chosen.id, NULL, $3, $4) AS ended ON true"#,
            ending.user_id.as_uuid(),
            ending.session_id,
            ending.reason.name(),
            ending.at,
        )
        .fetch_optional(&mut tx)
        .await?;
        let ended = match row {
            None => Ended::Unknown,
            Some(row) if row.now => Ended::Now,
            Some(_) => Ended::Before,
        };
        if ended == Ended::Now {
            let event = NewAuditEvent {
                event: AuditEventType::SignOut,
                refused: false,
                origin: ending.origin,
                session_id: Some(ending.session_id),
                at: ending.at,
            };
            audit::append(&mut tx, &event).await?;
        }
        tx.commit().await?;
        Ok(ended)
    }

    /// The caller's sessions that have not ended at `now`, from the one before `before`, or from the newest: at most
    /// `size`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        caller: UserId,
        before: Option<Uuid>,
        size: PageSize,
        now: DateTime<Utc>,
        deadline: Deadline,
    ) -> Result<Page, DbError> {
        let size = usize::from(size.get());
        let mut tx = self
            .database
            .begin("ListSessions", Context::User(caller), deadline)
            .await?;
        // Ids are UUIDs of version 7: in their order, sessions are in that of time. One more than asked for shows whether
        // there is a next page.
        let rows = sqlx::query!(
            r#"/* ListSessions */
            SELECT id, issued_at, coalesce(refreshed_at, issued_at) AS "refreshed_at!", refresh_expires_at
            FROM identity.sessions
            WHERE user_id = $1 AND id < $2 AND ended_at IS NULL AND refresh_expires_at > $3
            ORDER BY id DESC
            LIMIT $4"#,
            caller.as_uuid(),
            before.unwrap_or(Uuid::max()),
            now,
            size as i64 + 1,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let more = rows.len() > size;
        let sessions = rows.into_iter().take(size).map(|row| ListedSession {
            id: row.id,
            began_at: row.issued_at,
            refreshed_at: row.refreshed_at,
            expires_at: row.refresh_expires_at,
        });
        Ok(Page {
            sessions: sessions.collect(),
            more,
        })
    }

    /// The sessions that ended and of which an access token may still be alive at `now`, by a clock that is five minutes slow, from the one after `after`, or
    /// from the first: at most `size`.
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
    ) -> Result<EndedPage, DbError> {
        let size = usize::from(size);
        let mut tx = self
            .database
            .begin("ListEndedSessions", Context::Service, deadline)
            .await?;
        let mut ids = sqlx::query_scalar!(
            "/* ListEndedSessions */
            SELECT id FROM identity.ended_sessions WHERE id > $1 AND expires_at > $2 ORDER BY id LIMIT $3",
            after.unwrap_or(Uuid::nil()),
            now - SKEW,
            size as i64 + 1,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        let more = ids.len() > size;
        ids.truncate(size);
        Ok(EndedPage { ids, more })
    }

    /// All of these at once, for this service itself.
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
            "/* EndedSessions.load */ SELECT id FROM identity.ended_sessions WHERE expires_at > $1",
            now - SKEW,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(ids)
    }
}
