//! Erasing accounts, and what stays of them: the receipts.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError, TenantTx},
    deadline::Deadline,
};
use sqlx::types::Json;
use thiserror::Error;
use uuid::Uuid;

use crate::domain::{
    audit::Origin,
    erasure::{ErasedRows, Erasure, Receipt},
    outbox::{LEASE, Message},
};

/// The erasures of everybody, each reached for one person.
#[derive(Clone, Debug)]
pub struct Erasures {
    database: Arc<Database>,
}

/// Who wants an account erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eraser {
    /// Its person.
    Person {
        /// The version of the password that was checked.
        password_version: i64,
        /// The session that they are in, which does not end: they may ask again.
        session_id: Option<Uuid>,
    },
    /// A service.
    Service,
}

/// What is to be erased, and how it is to be kept.
#[derive(Debug)]
pub struct NewErasure<'a> {
    /// The request that asks for it.
    pub request_id: Uuid,
    /// Who asks.
    pub eraser: Eraser,
    /// Where the call came from.
    pub origin: &'a Origin,
    /// What data has to be told, and of whom. It is the caller's to deliver until its lease ends.
    pub message: &'a Message,
    /// When.
    pub at: DateTime<Utc>,
}

/// An erasure, and what this call has to do with it.
#[derive(Debug)]
pub struct Erased {
    /// The erasure.
    pub erasure: Erasure,
    /// Whether this call made it; otherwise an earlier one with the same request id did.
    pub made_now: bool,
    /// The sessions that it ended.
    pub ended: Vec<Uuid>,
}

/// Why an account was not erased.
#[derive(Debug, Error)]
pub enum EraseError {
    /// There is none, and there never was.
    #[error("there is no such account")]
    NotFound,
    /// Another request erased it.
    #[error("another request erased the account")]
    Erased,
    /// The request id belongs to another request.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The password was changed since it was checked.
    #[error("the password was changed meanwhile")]
    PasswordChanged,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

// === impl Erasures ===

impl Erasures {
    /// The erasures in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Erases the account of the message's person: all of it or nothing. When the same request did so before, changes
    /// nothing and returns what it did.
    ///
    /// # Errors
    ///
    /// See [`EraseError`].
    pub async fn erase(&self, new: &NewErasure<'_>, deadline: Deadline) -> Result<Erased, EraseError> {
        let person = new.message.user_id;
        let (context, spared) = match new.eraser {
            Eraser::Person { session_id, .. } => (Context::User(person), session_id),
            Eraser::Service => (Context::ServiceFor(person), None),
        };
        let mut tx = self.database.begin("DeleteAccount", context, deadline).await?;
        if let Eraser::Person { password_version, .. } = new.eraser {
            // Locked, so that it stays the password that was checked.
            let version = sqlx::query_scalar!(
                "/* DeleteAccount.lock */ SELECT password_version FROM identity.users WHERE id = $1 FOR UPDATE",
                person.as_uuid(),
            )
            .fetch_optional(&mut tx)
            .await
            .map_err(DbError::from)?;
            if version.is_some_and(|version| version != password_version) {
                return Err(EraseError::PasswordChanged);
            }
        }
        let reused = sqlx::query_scalar!(
            r#"/* DeleteAccount.request */
            SELECT EXISTS (SELECT FROM identity.requests WHERE user_id = $1 AND id = $2) AS "reused!""#,
            person.as_uuid(),
            new.request_id,
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        if reused {
            return Err(EraseError::RequestIdReused);
        }
        let ended = sqlx::query_scalar!(
            r#"/* DeleteAccount */
            SELECT session_id AS "session_id!" FROM identity.erase_account($1, $2, $3, $4, $5, $6, $7)"#,
            new.request_id,
            spared,
            new.origin.service.as_deref(),
            new.origin.network_mac.as_ref().map(|mac| mac.as_slice()),
            new.message.id,
            new.at + LEASE,
            new.at,
        )
        .fetch_all(&mut tx)
        .await
        .map_err(|error| match DbError::from(error) {
            error if error.constraint() == Some("erasures_service_request_key") => {
                EraseError::RequestIdReused
            }
            error => error.into(),
        })?;
        // A statement of its own: where another call erased the account while ours waited, it sees that.
        let erasure = find_in(&mut tx, person).await?;
        tx.commit().await?;
        match erasure {
            None => Err(EraseError::NotFound),
            Some(erasure) if erasure.request_id != new.request_id => Err(EraseError::Erased),
            // Of two with one request id that come in the same microsecond both deliver the message, which data takes once.
            Some(erasure) => Ok(Erased {
                made_now: erasure.requested_at == new.at,
                erasure,
                ended,
            }),
        }
    }

    /// The erasure of `person`'s account, for a service that asks.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn find(&self, person: UserId, deadline: Deadline) -> Result<Option<Erasure>, DbError> {
        let mut tx = self
            .database
            .begin("GetDeletion", Context::ServiceFor(person), deadline)
            .await?;
        let erasure = find_in(&mut tx, person).await?;
        tx.commit().await?;
        Ok(erasure)
    }
}

/// The erasure of the account of the transaction's person, who is `person`.
///
/// # Errors
///
/// When the database fails.
pub(in crate::store) async fn find_in(tx: &mut TenantTx, person: UserId) -> Result<Option<Erasure>, DbError> {
    let row = sqlx::query!(
        r#"/* Erasure.find */
        SELECT request_id, requested_at, erased AS "erased: Json<ErasedRows>",
               data_erased AS "data_erased: Json<ErasedRows>", completed_at
        FROM identity.erasures WHERE user_id = $1"#,
        person.as_uuid(),
    )
    .fetch_optional(tx)
    .await?;
    Ok(row.map(|row| Erasure {
        user_id: person,
        request_id: row.request_id,
        requested_at: row.requested_at,
        erased: row.erased.0,
        receipt: row
            .data_erased
            .zip(row.completed_at)
            .map(|(erased, confirmed_at)| Receipt {
                erased: erased.0,
                confirmed_at,
            }),
    }))
}
