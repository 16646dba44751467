//! ListUsers: reads the ids and states of all people, or of some, for a service.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    page::{Page, PageSize},
};
use uuid::Uuid;

use super::People;
use crate::domain::known_user::{KnownUser, UserState};

impl People {
    /// Returns a page of the people that the service knows, by id, after the id `after`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn list(
        &self,
        after: Option<UserId>,
        size: PageSize,
        deadline: Deadline,
    ) -> Result<Page<KnownUser>, DbError> {
        // No person has the nil id.
        let after = after.map_or(Uuid::nil(), |after| *after.as_uuid());
        let mut tx = self
            .database
            .begin("ListUsers", Context::Service, deadline)
            .await?;
        let rows = sqlx::query_as!(
            UserRow,
            r#"
            SELECT /* ListUsers */ p.id AS "id!", p.created_at, p.locked_at, p.erased_at
            FROM (
                (SELECT u.id, u.created_at, u.locked_at, NULL::timestamptz AS erased_at FROM data.users AS u
                    WHERE u.id > $1 ORDER BY u.id LIMIT $2)
                UNION ALL
                (SELECT t.user_id, NULL, NULL, t.erased_at FROM data.tombstones AS t
                    WHERE t.user_id > $1 ORDER BY t.user_id LIMIT $2)
            ) AS p
            ORDER BY p.id LIMIT $2"#,
            after,
            size.limit(),
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Page::try_from_rows(rows, size)
    }

    /// Returns those of `people` that the service knows, by id.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn find(&self, people: &[Uuid], deadline: Deadline) -> Result<Vec<KnownUser>, DbError> {
        let mut tx = self
            .database
            .begin("ListUsers", Context::Service, deadline)
            .await?;
        let rows = sqlx::query_as!(
            UserRow,
            r#"
            SELECT /* ListUsers, some */ p.id AS "id!", p.created_at, p.locked_at, p.erased_at
            FROM (
                SELECT u.id, u.created_at, u.locked_at, NULL::timestamptz AS erased_at FROM data.users AS u
                    WHERE u.id = ANY ($1)
                UNION ALL
                SELECT t.user_id, NULL, NULL, t.erased_at FROM data.tombstones AS t WHERE t.user_id = ANY ($1)
            ) AS p
            ORDER BY p.id"#,
            people,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        rows.into_iter().map(KnownUser::try_from).collect()
    }
}

/// A row of `data.users` or `data.tombstones`.
struct UserRow {
    id: Uuid,
    created_at: Option<DateTime<Utc>>,
    locked_at: Option<DateTime<Utc>>,
    erased_at: Option<DateTime<Utc>>,
}

impl TryFrom<UserRow> for KnownUser {
    type Error = DbError;

    fn try_from(row: UserRow) -> Result<Self, DbError> {
        let state = match (row.created_at, row.locked_at, row.erased_at) {
            (_, _, Some(erased_at)) => UserState::Erased { erased_at },
            (Some(created_at), Some(locked_at), None) => UserState::Locked {
                created_at,
                locked_at,
            },
            (Some(created_at), None, None) => UserState::Active { created_at },
            (None, ..) => return Err(DbError::unexpected("the time at which a person was provisioned")),
        };
        Ok(Self {
            id: UserId::new(row.id),
            state,
        })
    }
}
