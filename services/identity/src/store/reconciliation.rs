//! The states of all people, page by page, and the changes that mend a difference from data.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use uuid::Uuid;

use crate::domain::reconciliation::{Here, HereState};

/// The maximum number of people of a page.
pub const PAGE_SIZE: i64 = 500;

/// The timeout of one page or change.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The timeout of the count, which reads two whole indexes, perhaps from a slow disk.
const COUNT_TIMEOUT: Duration = Duration::from_secs(600);

/// The name in place of a calling service, in the audit log and the receipts.
const CALLER: &str = "identity reconcile";

/// The people of this service, with and without an account.
#[derive(Clone, Debug)]
pub struct Reconciliation {
    database: Arc<Database>,
}

impl Reconciliation {
    /// The people in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Counts the people with an account or a receipt.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn count(&self) -> Result<u64, DbError> {
        let mut tx = self
            .database
            .begin(
                "Reconciliation.count",
                Context::Service,
                Deadline::after(COUNT_TIMEOUT),
            )
            .await?;
        let count = sqlx::query_scalar!(
            r#"
            SELECT /* Reconciliation.count */
                   (SELECT count(*) FROM identity.users) + (SELECT count(*) FROM identity.erasures) AS "count!""#
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(count.unsigned_abs())
    }

    /// Returns up to [`PAGE_SIZE`] people, by id, after the id `after`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn page(&self, after: Uuid) -> Result<Vec<Here>, DbError> {
        let mut tx = self
            .database
            .begin("Reconciliation.page", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let rows = sqlx::query_as!(
            PersonRow,
            r#"
            SELECT /* Reconciliation.page */ p.id AS "id!", p.requested_at, p.is_complete AS "is_complete!",
                   EXISTS (SELECT FROM identity.outbox AS o WHERE o.user_id = p.id) AS "is_waiting!"
            FROM (
                (SELECT u.id, NULL::timestamptz AS requested_at, false AS is_complete FROM identity.users AS u
                    WHERE u.id > $1 ORDER BY u.id LIMIT $2)
                UNION ALL
                (SELECT e.user_id, e.requested_at, e.completed_at IS NOT NULL FROM identity.erasures AS e
                    WHERE e.user_id > $1 ORDER BY e.user_id LIMIT $2)
            ) AS p
            ORDER BY p.id LIMIT $2"#,
            after,
            PAGE_SIZE,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(Here::from).collect())
    }

    /// Returns those of `people` who have an account or a receipt, by id.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn find(&self, people: &[Uuid]) -> Result<Vec<Here>, DbError> {
        let mut tx = self
            .database
            .begin("Reconciliation.find", Context::Service, Deadline::after(TIMEOUT))
            .await?;
        let rows = sqlx::query_as!(
            PersonRow,
            r#"
            SELECT /* Reconciliation.find */ p.id AS "id!", p.requested_at, p.is_complete AS "is_complete!",
                   EXISTS (SELECT FROM identity.outbox AS o WHERE o.user_id = p.id) AS "is_waiting!"
            FROM (
                SELECT u.id, NULL::timestamptz AS requested_at, false AS is_complete FROM identity.users AS u
                    WHERE u.id = ANY ($1)
                UNION ALL
                SELECT e.user_id, e.requested_at, e.completed_at IS NOT NULL FROM identity.erasures AS e
                    WHERE e.user_id = ANY ($1)
            ) AS p
            ORDER BY p.id"#,
            people,
        )
        .fetch_all(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(rows.into_iter().map(Here::from).collect())
    }

    /// Writes a message that makes data know `person`. Returns `false` when there is a message about the person already, or
    /// no account.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn provision_again(
        &self,
        person: UserId,
        message: Uuid,
        at: DateTime<Utc>,
    ) -> Result<bool, DbError> {
        let mut tx = self
            .database
            .begin(
                "Reconciliation.provision",
                Context::ServiceFor(person),
                Deadline::after(TIMEOUT),
            )
            .await?;
        let written = sqlx::query_scalar!(
            r#"SELECT /* Reconciliation.provision */ identity.provision_again($1, $2) AS "written!""#,
            message,
            at,
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(written)
    }

    /// Erases the account of `person`, if there is one; keeps or writes the receipt, with the time `erased_at` of the
    /// erasure; and writes a message that makes data erase the person. All of it or nothing.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn erase_again(
        &self,
        person: UserId,
        message: Uuid,
        erased_at: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Result<(), DbError> {
        let mut tx = self
            .database
            .begin(
                "Reconciliation.erase",
                Context::ServiceFor(person),
                Deadline::after(TIMEOUT),
            )
            .await?;
        sqlx::query!(
            "SELECT /* Reconciliation.erase */ identity.erase_again($1, $2, $3, $4)",
            message,
            CALLER,
            erased_at,
            at,
        )
        .execute(&mut tx)
        .await?;
        tx.commit().await
    }
}

/// A row of `identity.users` or `identity.erasures`.
struct PersonRow {
    id: Uuid,
    requested_at: Option<DateTime<Utc>>,
    is_complete: bool,
    is_waiting: bool,
}

impl From<PersonRow> for Here {
    fn from(row: PersonRow) -> Self {
        Self {
            id: row.id,
            state: match row.requested_at {
                None => HereState::Account,
                Some(at) => HereState::Erased {
                    at,
                    is_complete: row.is_complete,
                },
            },
            is_waiting: row.is_waiting,
        }
    }
}
