//! ListDeadJobs: reads pages of dead jobs by keyset.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};
use uuid::Uuid;

use super::{Queue, expire::expire};
use crate::{
    domain::job::{DeadJob, DeathCause},
    store::analysis::range,
};

/// A dead job's position in the list: time of death, then person, then id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadJobCursor {
    /// The time at which the job became dead.
    pub died_at: DateTime<Utc>,
    /// The id of the person that the row belongs to.
    pub person: Uuid,
    /// The job's id, unique among its person's jobs.
    pub id: Uuid,
}

/// A row of `data.analysis_jobs` with the state `dead`.
struct DeadJobRow {
    user_id: Uuid,
    id: Uuid,
    first_number: i64,
    last_number: i64,
    attempts: i16,
    lost_leases: i16,
    attempts_left: bool,
    error: String,
    created_at: DateTime<Utc>,
    died_at: DateTime<Utc>,
}

impl Queue {
    /// Returns a page of dead jobs, the longest dead first, starting after the job of `after`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list_dead(
        &self,
        after: Option<DeadJobCursor>,
        size: PageSize,
        deadline: Deadline,
    ) -> Result<Page<DeadJob>, DbError> {
        // Sorts before every job: no job died in 1970.
        let after = after.unwrap_or(DeadJobCursor {
            died_at: DateTime::UNIX_EPOCH,
            person: Uuid::nil(),
            id: Uuid::nil(),
        });
        let mut tx = self
            .database
            .begin("ListDeadJobs", Context::Service, deadline)
            .await?;
        // A job that cannot be leased again is dead once its lease has expired, even if no other call has noticed it yet.
        let expired = expire(&mut tx).await?;
        let rows = sqlx::query_as!(
            DeadJobRow,
            r#"
            SELECT /* ListDeadJobs */
                   user_id, id, first_number, last_number, attempts, lost_leases, attempts < retry_limit AS "attempts_left!",
                coalesce(last_error, '') AS "error!", created_at, finished_at AS "died_at!"
            FROM data.analysis_jobs
            WHERE state = 'dead' AND (finished_at, user_id, id) > ($1, $2, $3)
            ORDER BY finished_at, user_id, id
            LIMIT $4"#,
            after.died_at,
            after.person,
            after.id,
            size.limit(),
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        expired.count();
        Page::try_from_rows(rows, size)
    }
}

// === impl DeadJobRow ===

impl TryFrom<DeadJobRow> for DeadJob {
    type Error = DbError;

    fn try_from(row: DeadJobRow) -> Result<Self, DbError> {
        Ok(Self {
            person: UserId::new(row.user_id),
            id: row.id,
            range: range(row.first_number, row.last_number)?,
            attempts: row.attempts,
            lost_leases: row.lost_leases,
            cause: match row.attempts_left {
                true => DeathCause::LostLeases,
                false => DeathCause::FailedAttempts,
            },
            error: row.error,
            created_at: row.created_at,
            died_at: row.died_at,
        })
    }
}
