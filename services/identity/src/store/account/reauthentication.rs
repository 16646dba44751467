//! People's own passwords: what proves once more who they are, when they are signed in. Changing one is in
//! [`super::change_password`].

use std::sync::Arc;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, Database, DbError},
    deadline::Deadline,
};
use sqlx::types::Json;
use uuid::Uuid;

use crate::domain::{
    account::PasswordHash,
    audit::{AuditEventType, NewAuditEvent, Origin},
    erasure::Erasure,
    rate_limit::Quota,
};
use crate::store::account::delete_account as erasure;
use crate::store::audit_log as audit;
use crate::store::rate_limit::{LimitError, admit};

/// The passwords of everybody, each reached only as the person whose it is.
#[derive(Clone, Debug)]
pub struct OwnPasswords {
    pub(in crate::store) database: Arc<Database>,
}

/// How somebody can prove that the account is theirs.
#[derive(Debug)]
pub enum Proof {
    /// By its password.
    Password(OwnPassword),
    /// Another provider signs them in.
    Elsewhere {
        /// As in [`OwnPassword`].
        version: i64,
    },
    /// There is no account any more.
    Erased(Erasure),
    /// There never was one.
    Unknown,
}

/// A password that is to be proved.
#[derive(Debug)]
pub struct OwnPassword {
    /// The account's email address, as entered.
    pub email: String,
    /// The hash.
    pub hash: PasswordHash,
    /// Counts changes of it: by it, whoever writes after checking it knows that it is still this one.
    pub version: i64,
    /// The key of the account's wrong passwords.
    pub failures: [u8; 32],
    /// What was done under the call's request id before.
    pub earlier: Option<EarlierRequest>,
}

/// A request of before.
#[derive(Debug)]
pub struct EarlierRequest {
    pub(in crate::store) method: String,
    pub(in crate::store) payload_mac: Vec<u8>,
    pub(in crate::store) answer: serde_json::Value,
}

/// A wrong password.
#[derive(Debug)]
pub struct WrongPassword<'a> {
    /// Whose it is not.
    pub user_id: UserId,
    /// What it was to prove that for.
    pub event: AuditEventType,
    /// The session of the call.
    pub session_id: Option<Uuid>,
    /// The key of the account's wrong passwords.
    pub failures: &'a [u8; 32],
    /// Where the call came from.
    pub origin: &'a Origin,
    /// When.
    pub at: DateTime<Utc>,
}

// === impl OwnPasswords ===

impl OwnPasswords {
    /// The passwords in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }

    /// How `person` can prove that the account is theirs, unless they are over a limit, or have to wait after wrong
    /// passwords. `limits` makes the limits, and the key of the wrong passwords, out of the canonical address; `request_id` is
    /// the call's.
    ///
    /// # Errors
    ///
    /// When they have to wait, or when the database fails.
    pub async fn proof(
        &self,
        person: UserId,
        request_id: Uuid,
        limits: impl FnOnce(&str) -> (Vec<Quota>, [u8; 32]) + Send,
        deadline: Deadline,
    ) -> Result<Proof, LimitError> {
        let mut tx = self
            .database
            .begin("OwnPassword", Context::User(person), deadline)
            .await?;
        let row = sqlx::query!(
            r#"/* OwnPassword */
            SELECT own.email, own.email_canonical, own.password_hash, own.password_version AS "version!",
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
            return Ok(erasure.map_or(Proof::Unknown, Proof::Erased));
        };
        let (Some(email), Some(canonical), Some(hash)) = (row.email, row.email_canonical, row.password_hash)
        else {
            tx.commit().await?;
            return Ok(Proof::Elsewhere { version: row.version });
        };
        let (quotas, failures) = limits(&canonical);
        admit(&mut tx, &quotas, Some(&failures)).await?;
        tx.commit().await?;
        let earlier = match (row.method, row.payload_mac, row.answer) {
            (Some(method), Some(payload_mac), Some(answer)) => Some(EarlierRequest {
                method,
                payload_mac,
                answer: answer.0,
            }),
            _ => None,
        };
        Ok(Proof::Password(OwnPassword {
            email,
            hash: PasswordHash::new(hash),
            version: row.version,
            failures,
            earlier,
        }))
    }

    /// Counts a wrong password, and logs what it was to prove itself for.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn note_wrong(&self, wrong: &WrongPassword<'_>, deadline: Deadline) -> Result<(), DbError> {
        let mut tx = self
            .database
            .begin("OwnPassword.wrong", Context::User(wrong.user_id), deadline)
            .await?;
        sqlx::query!(
            r#"/* OwnPassword.wrong */ SELECT identity.note_failure($1) AS "noted: ()""#,
            wrong.failures.as_slice(),
        )
        .execute(&mut tx)
        .await?;
        let event = NewAuditEvent {
            event: wrong.event,
            refused: true,
            origin: wrong.origin,
            session_id: wrong.session_id,
            at: wrong.at,
        };
        audit::append(&mut tx, &event).await?;
        tx.commit().await
    }
}
