//! The SQL of SignIn.

use std::time::Duration;

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, Effect},
    deadline::Deadline,
    mac::{KeyId, StoredMac},
    request_key::RequestKey,
};
use serde::{Deserialize, Serialize};
use sqlx::{postgres::types::PgInterval, types::Json};
use thiserror::Error;
use uuid::Uuid;

use super::{Sessions, consents};
use crate::{
    domain::{
        account::PasswordHash,
        audit::Origin,
        consent::Consent,
        rate_limit::{FailureKeys, Quota},
        session::{NewSession, Session},
    },
    store::rate_limit::{self, Arrays, Cap, LimitError},
};

/// The timeout of counting a wrong password, which continues when the caller disconnects.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The credential of an account.
#[derive(Debug)]
pub struct Credential {
    /// The id of the account's person.
    pub user_id: UserId,
    /// The password's hash. `None` when another provider signs this person in.
    pub password_hash: Option<PasswordHash>,
    /// The password's version, which grows with each change.
    pub password_version: i64,
}

/// What a call signs in with.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The canonical email address.
    pub email_canonical: &'a str,
    /// The hashes of the device token that was sent, under each key of the ring. Empty without a token.
    pub devices: &'a [Vec<u8>],
    /// The request's key, by which a retry is recognized.
    pub request: &'a RequestKey,
    /// The time of the call.
    pub at: DateTime<Utc>,
}

/// The limits of a sign-in. Which of them apply depends on what is found.
#[derive(Debug)]
pub struct SignInLimits {
    /// The limits of the network and the service. They do not apply to a retry.
    pub quotas: Vec<Quota>,
    /// The limits of a retry: the same request began a session before. It has to know the password nevertheless.
    pub retries: Vec<Quota>,
    /// The limits, and the keys of the wrong passwords, of a device that signed in before. Empty without a token.
    pub of_device: (Vec<Quota>, FailureKeys),
    /// The same of any other caller. The limits are those of a device under other keys.
    pub of_address: (Vec<Quota>, FailureKeys),
}

/// The result of [`Sessions::find_credential`].
#[derive(Debug)]
pub struct Found {
    /// The credential. `None` when the address has no account.
    pub credential: Option<Credential>,
    /// The stored hash of the device token that was sent. `None` when it is not one of the account.
    pub device_hash: Option<Vec<u8>>,
    /// The keys under which the caller's wrong passwords are counted.
    pub failures: FailureKeys,
}

/// A session that began.
#[derive(Debug)]
pub struct BegunSession {
    /// The session.
    pub session: Session,
    /// The id of the key that its first refresh token, and its device token, are derived from: the key that came first in
    /// the ring when the session began.
    pub key: KeyId,
    /// `true` when the device token is the one of the request, rather than a new one.
    pub keeps_device: bool,
    /// The ids of the sessions that ended to make room for this one.
    pub ended: Vec<Uuid>,
    /// The required consents that were not in effect when the session began.
    pub missing_consents: Vec<Consent>,
}

/// The error when a session did not begin.
#[derive(Debug, Error)]
pub enum BeginError {
    /// The password was changed, or the account was deleted, after the password was checked.
    #[error("the password was changed in the meantime")]
    PasswordChanged,
    /// The password is right, and the account's address is not verified.
    #[error("the address is not verified")]
    EmailNotVerified,
    /// The request id belongs to a request with other content.
    #[error("the request id belongs to another request")]
    RequestIdReused,
    /// The database failed, or cannot be reached.
    #[error(transparent)]
    Database(DbError),
}

/// The stored answer, for retries. The tokens are derived from it.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    session_id: Uuid,
    issued_at: i64,
    expires_at: i64,
    refresh_expires_at: i64,
    #[serde(default)]
    keeps_device: bool,
    /// As `document=version`. The statement fills it in.
    #[serde(default, skip_serializing)]
    missing_consents: Vec<String>,
}

// === impl Sessions ===

impl Sessions {
    /// Finds the account by its email address, its device token, and the earlier request with the same key. Then admits the
    /// sign-in if it is within those of the `limits` that follow from what was found, and need not wait after wrong passwords.
    /// Takes one round trip, and does the same work whether there is an account or not.
    ///
    /// # Errors
    ///
    /// [`LimitError`]. A call that exceeds one limit does not count towards the others.
    pub async fn find_credential(
        &self,
        attempt: &Attempt<'_>,
        limits: SignInLimits,
        deadline: Deadline,
    ) -> Result<Found, LimitError> {
        let (common, retries) = (Arrays::of(&limits.quotas), Arrays::of(&limits.retries));
        let (device, address) = (Arrays::of(&limits.of_device.0), Arrays::of(&limits.of_address.0));
        let macs = attempt.request.payload_macs.to_vecs();
        let cap = Cap::of(Some(&limits.of_address.1));
        let row = self
            .database
            .call("SignIn.find", Context::Anonymous, Effect::Repeatable, deadline)
            .fetch_one(|| {
                sqlx::query!(
                    r#"
                    SELECT /* SignIn.find */ refused, waits, user_id, password_hash, password_version, device_hash
                    FROM identity.begin_sign_in_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                        $17, $18, $19, $20)"#,
                    attempt.email_canonical,
                    attempt.devices as &[Vec<u8>],
                    attempt.at,
                    attempt.request.id,
                    &macs as &[Vec<u8>],
                    &common.keys as &[Vec<u8>],
                    &common.emissions as &[PgInterval],
                    &common.tolerances as &[PgInterval],
                    &retries.keys as &[Vec<u8>],
                    &retries.emissions as &[PgInterval],
                    &retries.tolerances as &[PgInterval],
                    &device.keys as &[Vec<u8>],
                    &address.keys as &[Vec<u8>],
                    &address.emissions as &[PgInterval],
                    &address.tolerances as &[PgInterval],
                    limits.of_device.1.as_slice() as &[Vec<u8>],
                    limits.of_address.1.as_slice() as &[Vec<u8>],
                    cap.keys as &[Vec<u8>],
                    cap.emission,
                    cap.tolerance,
                )
            })
            .await?;
        let own = [&limits.retries, &limits.of_device.0, &limits.of_address.0];
        let possible: Vec<Quota> = limits
            .quotas
            .iter()
            .chain(own.into_iter().flatten())
            .copied()
            .collect();
        rate_limit::check(row.refused, row.waits, &possible, cap.keys)?;
        let (hash, account) = (row.password_hash, row.user_id.zip(row.password_version));
        Ok(Found {
            credential: account.map(|(user_id, password_version)| Credential {
                user_id: UserId::new(user_id),
                password_hash: hash.map(PasswordHash::new),
                password_version,
            }),
            failures: match row.device_hash {
                Some(_) => limits.of_device.1,
                None => limits.of_address.1,
            },
            device_hash: row.device_hash,
        })
    }

    /// Begins a session, resets the count of the account's wrong passwords, and updates the time of the person's last
    /// activity. Stores or renews the device token, and ends the oldest sessions beyond the maximum. When the same request
    /// did so before, changes nothing and returns that session, even if it has ended.
    ///
    /// # Errors
    ///
    /// See [`BeginError`]. Nothing was changed, except that after a database error the session may have begun: a retry
    /// returns the outcome.
    pub async fn begin(&self, new: NewSession<'_>, deadline: Deadline) -> Result<BegunSession, BeginError> {
        let NewSession { session, origin, .. } = &new;
        let (documents, versions) = new.required_consents.columns();
        let answer = Answer::of(*session, new.device.found.is_some());
        let person = session.user_id;
        let row = self
            .database
            .call("SignIn", Context::User(person), Effect::Repeatable, deadline)
            .fetch_one(|| {
                sqlx::query_as!(
                    BegunRow,
                    r#"
                    SELECT /* SignIn */ earlier AS "earlier!", is_unverified AS "is_unverified!", method, payload_mac,
                        answer AS "answer: Json<serde_json::Value>", missing_consents, ended
                    FROM identity.sign_in_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,
                        $18, $19, $20, $21, $22, $23, $24, $25)"#,
                    person.as_uuid(),
                    new.request.id,
                    new.request.payload_macs.first().as_bytes(),
                    Json(&answer) as _,
                    new.at,
                    new.password_version,
                    session.id,
                    session.issued_at,
                    session.expires_at,
                    session.refresh_expires_at,
                    new.token.id,
                    new.token.hash.as_bytes(),
                    new.failures.as_slice() as &[Vec<u8>],
                    origin.service.as_deref(),
                    origin.network_mac.as_ref().map(StoredMac::as_bytes),
                    new.device.id,
                    new.device.found.as_deref(),
                    new.device.hash.as_bytes(),
                    new.device.expires_at,
                    new.device.maximum,
                    new.max_sessions,
                    &documents as _,
                    &versions as _,
                    new.requires_verified,
                    new.upgraded.as_ref().map(PasswordHash::expose),
                )
            })
            .await?;
        if row.earlier {
            return row.earlier(&new);
        }
        if row.is_unverified {
            return Err(BeginError::EmailNotVerified);
        }
        let missing = row.missing_consents.unwrap_or_default();
        Ok(BegunSession {
            session: new.session,
            key: KeyId::of_stored(new.request.payload_macs.first().as_bytes()),
            keeps_device: new.device.found.is_some(),
            ended: row.ended.unwrap_or_default(),
            missing_consents: consents(&missing).map_err(BeginError::Database)?,
        })
    }

    /// Counts a wrong password under `failures`, and appends it to the audit log of `person` if the account exists. It
    /// is one round trip in both cases, so that the response time hardly differs.
    ///
    /// # Errors
    ///
    /// When the database fails. The password may not be counted then.
    pub async fn count_failure(
        &self,
        person: Option<UserId>,
        failures: &FailureKeys,
        origin: Origin,
        at: DateTime<Utc>,
    ) -> Result<(), DbError> {
        let context = person.map_or(Context::Service, Context::ServiceFor);
        let (cap, deadline) = (Cap::of(Some(failures)), Deadline::after(TIMEOUT));
        self.database
            .call("SignIn.failed", context, Effect::Once, deadline)
            .fetch_one(|| {
                sqlx::query!(
                    r#"
                    SELECT /* SignIn.failed */ noted AS "noted!"
                    FROM identity.note_wrong_password_1($1, $2, $3, $4, $5, $6, $7, $8)"#,
                    person.as_ref().map(UserId::as_uuid),
                    failures.as_slice() as &[Vec<u8>],
                    cap.keys as &[Vec<u8>],
                    cap.emission,
                    cap.tolerance,
                    origin.service.as_deref(),
                    origin.network_mac.as_ref().map(StoredMac::as_bytes),
                    at,
                )
            })
            .await?;
        Ok(())
    }
}

/// The outcome of the call that begins a session.
struct BegunRow {
    /// `true` when the same request began a session before. Then the row has that request.
    earlier: bool,
    /// `true` when the address must be verified and is not. The refusal is in the audit log.
    is_unverified: bool,
    method: Option<String>,
    payload_mac: Option<Vec<u8>>,
    answer: Option<Json<serde_json::Value>>,
    /// The required consents that are not in effect.
    missing_consents: Option<Vec<String>>,
    /// The ids of the sessions that ended to make room.
    ended: Option<Vec<Uuid>>,
}

// === impl BegunRow ===

impl BegunRow {
    /// Returns the answer to the earlier request with the same id as `new`, and the key of its stored hash.
    fn earlier(self, new: &NewSession<'_>) -> Result<BegunSession, BeginError> {
        let (Some(method), Some(payload_mac), Some(answer)) = (self.method, self.payload_mac, self.answer)
        else {
            return Err(BeginError::Database(DbError::unexpected(
                "an earlier sign-in has no request",
            )));
        };
        if method != "SignIn" || !new.request.payload_macs.contains(&payload_mac) {
            return Err(BeginError::RequestIdReused);
        }
        let answer: Option<Answer> = serde_json::from_value(answer.0).ok();
        let keeps_device = answer.as_ref().is_some_and(|answer| answer.keeps_device);
        let missing = answer
            .as_ref()
            .map_or(&[] as &[String], |answer| &answer.missing_consents);
        let missing_consents = consents(missing).map_err(BeginError::Database)?;
        let session = answer
            .and_then(|answer| answer.session_of(new.session.user_id))
            .ok_or_else(|| {
                BeginError::Database(DbError::unexpected(
                    "the stored answer of a sign-in is not a session",
                ))
            })?;
        Ok(BegunSession {
            session,
            key: KeyId::of_stored(&payload_mac),
            keeps_device,
            ended: Vec::new(),
            missing_consents,
        })
    }
}

// === impl Answer ===

impl Answer {
    fn of(session: Session, keeps_device: bool) -> Self {
        Self {
            keeps_device,
            missing_consents: Vec::new(),
            session_id: session.id,
            issued_at: session.issued_at.timestamp(),
            expires_at: session.expires_at.timestamp(),
            refresh_expires_at: session.refresh_expires_at.timestamp(),
        }
    }

    fn session_of(self, user_id: UserId) -> Option<Session> {
        Some(Session {
            id: self.session_id,
            user_id,
            issued_at: DateTime::from_timestamp(self.issued_at, 0)?,
            expires_at: DateTime::from_timestamp(self.expires_at, 0)?,
            refresh_expires_at: DateTime::from_timestamp(self.refresh_expires_at, 0)?,
        })
    }
}

// === impl BeginError ===

impl From<DbError> for BeginError {
    fn from(error: DbError) -> Self {
        match error.constraint() {
            Some(
                "sign_in_password_version"
                | "requests_user_id_fkey"
                | "audit_chains_user_id_fkey"
                | "security_audit_log_user_id_fkey",
            ) => Self::PasswordChanged,
            _ => Self::Database(error),
        }
    }
}
