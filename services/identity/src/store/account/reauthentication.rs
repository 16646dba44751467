//! The credentials by which signed-in people confirm an action.

use std::sync::Arc;

use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use sqlx::types::Json;
use uuid::Uuid;

use super::erasure;
use crate::{
    domain::{
        account::PasswordHash,
        audit::NewAuditEvent,
        erasure::Erasure,
        password::WrongPassword,
        rate_limit::{FailureKeys, Quota},
    },
    store::{
        audit_log,
        rate_limit::{LimitError, admit},
    },
};

/// The passwords of all people. Each is accessed only in the context of its person.
#[derive(Clone, Debug)]
pub struct OwnPasswords {
    pub(super) database: Arc<Database>,
}

/// The credential of a signed-in person.
#[derive(Debug)]
pub enum OwnCredential {
    /// The account has a password.
    Password(OwnPassword),
    /// The account has no password, because another provider signs the person in.
    External {
        /// The version, as in [`OwnPassword`].
        version: i64,
    },
    /// The account was erased.
    Erased(Erasure),
    /// The account never existed.
    NoAccount,
}

/// The password of a signed-in person.
#[derive(Debug)]
pub struct OwnPassword {
    /// The account's email address, as entered.
    pub email: String,
    /// The hash of the password.
    pub hash: PasswordHash,
    /// The password's version, which grows with each change. A transaction that writes after the password was checked
    /// compares the version, to be sure that the password is still the same.
    pub version: i64,
    /// The keys under which the account's wrong passwords are counted.
    pub failures: FailureKeys,
    /// The request that was made with the call's request id before, if any.
    pub earlier: Option<EarlierRequest>,
}

/// An earlier request of the same person.
#[derive(Debug)]
pub struct EarlierRequest {
    pub(super) method: String,
    pub(super) payload_mac: Vec<u8>,
    pub(super) answer: serde_json::Value,
}

// === impl OwnPasswords ===

impl OwnPasswords {
    /// The passwords in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// Reads the credential of `person`, and counts the call. `limits` returns the limits, and the keys under which the wrong
    /// passwords of the caller are counted, by the earlier request with the call's `request_id`.
    ///
    /// # Errors
    ///
    /// When the call is over a limit, or must wait after wrong passwords; or when the database fails.
    pub async fn credential(
        &self,
        person: UserId,
        request_id: Uuid,
        limits: impl FnOnce(Option<&EarlierRequest>) -> (Vec<Quota>, FailureKeys) + Send,
        deadline: Deadline,
    ) -> Result<OwnCredential, LimitError> {
        let mut tx = self
            .database
            .begin("OwnPassword", Context::User(person), deadline)
            .await?;
        let row = sqlx::query!(
            r#"
            SELECT /* OwnPassword */
                   own.email, own.password_hash, own.password_version AS "version!",
                   request.method AS "method?", request.payload_mac AS "payload_mac?",
                   request.answer AS "answer?: Json<serde_json::Value>"
            FROM identity.own_credential() AS own
                LEFT JOIN identity.requests AS request ON request.user_id = $1 AND request.id = $2"#,
            person.as_uuid(),
            request_id,
        )
        .fetch_optional(&mut tx)
        .await
        .map_err(DbError::from)?;
        let Some(row) = row else {
            let erasure = erasure::find_in(&mut tx, person).await?;
            tx.commit().await?;
            return Ok(erasure.map_or(OwnCredential::NoAccount, OwnCredential::Erased));
        };
        let (Some(email), Some(hash)) = (row.email, row.password_hash) else {
            tx.commit().await?;
            return Ok(OwnCredential::External { version: row.version });
        };
        let earlier = match (row.method, row.payload_mac, row.answer) {
            (Some(method), Some(payload_mac), Some(answer)) => Some(EarlierRequest {
                method,
                payload_mac,
                answer: answer.0,
            }),
            _ => None,
        };
        let (quotas, failures) = limits(earlier.as_ref());
        admit(&mut tx, &quotas, Some(&failures)).await?;
        tx.commit().await?;
        Ok(OwnCredential::Password(OwnPassword {
            email,
            hash: PasswordHash::new(hash),
            version: row.version,
            failures,
            earlier,
        }))
    }

    /// Counts a wrong password of `person`, and appends the refused event to the audit log.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn count_wrong(
        &self,
        person: UserId,
        wrong: &WrongPassword<'_>,
        deadline: Deadline,
    ) -> Result<(), DbError> {
        let mut tx = self
            .database
            .begin("OwnPassword.wrong", Context::User(person), deadline)
            .await?;
        sqlx::query!(
            r#"
            SELECT /* OwnPassword.wrong */ count(*) AS "noted!"
            FROM unnest($1::bytea[]) AS account (key), identity.note_failure(account.key)"#,
            wrong.failures.as_slice() as &[Vec<u8>],
        )
        .fetch_one(&mut tx)
        .await?;
        let event = NewAuditEvent {
            event: wrong.event,
            refused: true,
            origin: wrong.origin,
            session_id: wrong.session_id,
            at: wrong.at,
        };
        audit_log::append(&mut tx, &event).await?;
        tx.commit().await
    }
}
