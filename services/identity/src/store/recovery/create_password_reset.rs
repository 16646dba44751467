//! The SQL of CreatePasswordReset.
//!
//! An address without an account takes as many statements and transactions as one with an account.

use chrono::{DateTime, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError},
    deadline::Deadline,
    mac::StoredMacs,
};
use sqlx::types::Json;

use super::{CreateError, Earlier, Recovery, interval, issue::issue};
use crate::{
    domain::{
        audit::AuditEventType,
        rate_limit::Quota,
        recovery::{NewRecoveryToken, RecoveryKind, TokenRequest, UNKNOWN_RESET_RETENTION},
    },
    store::rate_limit::{self, LimitError},
};

/// The name of the method in `identity.requests`.
const METHOD: &str = "CreatePasswordReset";

/// What is known of an address before a token is stored.
#[derive(Debug)]
pub struct FoundAddress {
    /// The id of the account's person. `None` when the address has no account.
    pub user_id: Option<UserId>,
    /// The earlier request with the call's request id, for the account.
    pub earlier: Option<Earlier>,
    /// The earlier request with the call's request id, for an address that had no account then: when it was made, and the place
    /// of its key in the ring.
    pub noted: Option<(DateTime<Utc>, usize)>,
}

/// A request for a password reset.
#[derive(Clone, Copy, Debug)]
pub struct ResetRequest<'a> {
    /// The canonical form of the address.
    pub email_canonical: &'a str,
    /// The id of the request.
    pub id: uuid::Uuid,
    /// The keyed hashes by which the request of an address without an account is remembered.
    pub marks: &'a StoredMacs,
}

// === impl Recovery ===

impl Recovery {
    /// Finds the account of an address, and the earlier request with the same id. Admits the call if it is not a retry, and is
    /// within all of `quotas`.
    ///
    /// # Errors
    ///
    /// When the call is over a limit, or when the database fails.
    pub async fn find_address(
        &self,
        request: ResetRequest<'_>,
        quotas: &[Quota],
        deadline: Deadline,
    ) -> Result<FoundAddress, LimitError> {
        let marks: Vec<Vec<u8>> = request.marks.iter().map(|mark| mark.mac().to_vec()).collect();
        let mut tx = self
            .database
            .begin("CreatePasswordReset.find", Context::Anonymous, deadline)
            .await?;
        let row = sqlx::query!(
            r#"
            SELECT /* CreatePasswordReset.find */ user_id, method, payload_mac,
                answer AS "answer: Json<serde_json::Value>", mark, noted_until
            FROM identity.find_reset($1, $2, $3)"#,
            request.email_canonical,
            request.id,
            &marks as &[Vec<u8>],
        )
        .fetch_one(&mut tx)
        .await
        .map_err(DbError::from)?;
        let earlier = Earlier::of(row.method, row.payload_mac, row.answer.map(|answer| answer.0));
        let noted = row.noted_until.zip(row.mark).map(|(until, mark)| {
            let place = usize::try_from(mark).unwrap_or(1).saturating_sub(1);
            (until - UNKNOWN_RESET_RETENTION, place)
        });
        if earlier.is_none() && noted.is_none() {
            rate_limit::admit(&mut tx, quotas, None).await?;
        }
        tx.commit().await?;
        Ok(FoundAddress {
            user_id: row.user_id.map(UserId::new),
            earlier,
            noted,
        })
    }

    /// Stores a token for the account of a person with this address. Returns the time from which it is no longer accepted.
    ///
    /// # Errors
    ///
    /// [`CreateError::Outdated`], [`CreateError::RequestIdReused`], or a failure of the database. Nothing was stored, except
    /// that after a database error the token may have been: a retry returns the outcome.
    pub async fn create_password_reset(
        &self,
        new: &TokenRequest<'_>,
        token: NewRecoveryToken,
        email_canonical: &str,
        deadline: Deadline,
    ) -> Result<DateTime<Utc>, CreateError> {
        let mut tx = self
            .database
            .begin(METHOD, Context::ServiceFor(new.user_id), deadline)
            .await?;
        let what = (
            METHOD,
            RecoveryKind::PasswordReset,
            AuditEventType::PasswordResetRequest,
        );
        // The account was erased, or changed its address, in the meantime: reading again finds what the address has now.
        let created = issue(&mut tx, what, new, token, email_canonical, None)
            .await?
            .ok_or(CreateError::Outdated)?;
        tx.commit().await?;
        Ok(created.expires_at()?)
    }

    /// Remembers the request of an address without an account. Returns the time at which it was made first.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn note_unknown_reset(
        &self,
        marks: &StoredMacs,
        deadline: Deadline,
    ) -> Result<DateTime<Utc>, DbError> {
        let mark = marks.first().mac();
        let mut tx = self.database.begin(METHOD, Context::Service, deadline).await?;
        let noted_at = sqlx::query_scalar!(
            r#"SELECT /* CreatePasswordReset.note */ identity.note_unknown_reset($1, $2) AS "noted_at!""#,
            mark.as_slice(),
            interval(UNKNOWN_RESET_RETENTION),
        )
        .fetch_one(&mut tx)
        .await?;
        tx.commit().await?;
        Ok(noted_at)
    }
}
