//! The SQL of DeleteAccount.

use haven_platform::{
    database::{Context, DbError},
    deadline::Deadline,
    mac::StoredMac,
};
use thiserror::Error;
use uuid::Uuid;

use super::erasure::{Erasures, find_in};
use crate::domain::{
    erasure::{Erasure, NewErasure, Requester},
    outbox::LEASE,
};

/// The outcome of a DeleteAccount call.
#[derive(Debug)]
pub struct Erased {
    /// The record of the erasure.
    pub erasure: Erasure,
    /// `true` when this call erased the account; `false` when an earlier call with the same request id did.
    pub is_new: bool,
    /// The ids of the sessions that this call ended.
    pub ended: Vec<Uuid>,
}

/// The error when an account was not erased.
#[derive(Debug, Error)]
pub enum EraseError {
    /// The account never existed.
    #[error("there is no such account")]
    NotFound,
    /// Another request erased the account.
    #[error("another request erased the account")]
    Erased,
    /// The request id belongs to another request.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The password was changed after it was checked.
    #[error("the password was changed in the meantime")]
    PasswordChanged,
    /// The database failed, or cannot be reached.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl Erasures {
    /// Erases the account of the message's person: all of it or nothing. When the same request did so before, changes
    /// nothing and returns the first outcome.
    ///
    /// # Errors
    ///
    /// See [`EraseError`].
    pub async fn erase(&self, new: &NewErasure<'_>, deadline: Deadline) -> Result<Erased, EraseError> {
        let person = new.message.user_id;
        let (context, kept_session) = match new.requester {
            Requester::Person { session_id, .. } => (Context::User(person), session_id),
            Requester::Service => (Context::ServiceFor(person), None),
        };
        let mut tx = self.database.begin("DeleteAccount", context, deadline).await?;
        if let Requester::Person { password_version, .. } = new.requester {
            // Locks the account, so that the checked password stays the current one.
            let version = sqlx::query_scalar!(
                "SELECT /* DeleteAccount.lock */ password_version FROM identity.users WHERE id = $1 FOR UPDATE",
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
            r#"
            SELECT /* DeleteAccount.request */
                   EXISTS (SELECT FROM identity.requests WHERE user_id = $1 AND id = $2) AS "reused!""#,
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
            r#"
            SELECT /* DeleteAccount */
                   session_id AS "session_id!" FROM identity.erase_account($1, $2, $3, $4, $5,
                now() + make_interval(secs => $6), $7)"#,
            new.request_id,
            kept_session,
            new.origin.service.as_deref(),
            new.origin.network_mac.as_ref().map(StoredMac::as_bytes),
            new.message.id,
            LEASE.as_secs_f64(),
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
        // A separate statement: when another call erased the account while this one waited, it sees that erasure.
        let erasure = find_in(&mut tx, person).await?;
        tx.commit().await?;
        match erasure {
            None => Err(EraseError::NotFound),
            Some(erasure) if erasure.request_id != new.request_id => Err(EraseError::Erased),
            // Two calls with one request id in the same microsecond both deliver the message, which data processes once.
            Some(erasure) => Ok(Erased {
                is_new: erasure.requested_at == new.at,
                erasure,
                ended,
            }),
        }
    }
}
