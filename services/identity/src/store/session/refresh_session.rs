//! RefreshSession: uses a refresh token, and stores its successor.

use chrono::{DateTime, TimeDelta, Utc};
use haven_platform::{
    call::UserId,
    database::{Context, DbError, Effect},
    deadline::Deadline,
    mac::{KeyId, StoredMac},
};
use sqlx::postgres::types::PgInterval;

use super::{Sessions, consents};
use crate::{
    domain::{
        audit::Origin,
        consent::{Consent, RequiredConsents},
        rate_limit::Quota,
        refresh_token::{GRACE, NewRefreshToken, REFRESH_TOKEN_LIFETIME, TokenKey},
        session::{ACCESS_TOKEN_LIFETIME, Session},
    },
    store::rate_limit::{self, Arrays, LimitError},
};

/// A stored token that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundToken {
    /// The key of the token.
    pub key: TokenKey,
    /// The id of the key that its hash is under.
    pub hash_key: KeyId,
    /// The deadline of the call, by the clock of Postgres.
    pub not_after: DateTime<Utc>,
}

/// A session with new tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshedSession {
    /// The session.
    pub session: Session,
    /// The required consents that are not in effect now.
    pub missing_consents: Vec<Consent>,
}

/// The outcome of a refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// This call used the token, and stored its successor.
    Session(RefreshedSession),
    /// Another call used the token within the last few seconds, and stored its successor.
    Again(RefreshedSession),
    /// The session had ended before.
    Ended,
    /// The token was used before, and this call ended its session.
    Reused,
    /// The token has expired.
    Expired,
    /// The token is no longer stored, and neither is its session.
    Unknown,
}

// === impl Sessions ===

impl Sessions {
    /// Finds the token that has one of these keyed hashes: those of one token under each key of the ring. Admits the call first, if
    /// it is within all of `quotas`.
    ///
    /// # Errors
    ///
    /// When the call is over a limit, or when the database fails.
    pub async fn find_refresh_token(
        &self,
        hashes: impl Iterator<Item = StoredMac>,
        quotas: &[Quota],
        deadline: Deadline,
    ) -> Result<Option<FoundToken>, LimitError> {
        let hashes: Vec<Vec<u8>> = hashes.map(|hash| hash.as_bytes().to_vec()).collect();
        let limits = Arrays::of(quotas);
        let row = self
            .database
            .call(
                "RefreshSession.find",
                Context::Anonymous,
                Effect::Repeatable,
                deadline,
            )
            .fetch_one(|| {
                sqlx::query!(
                    r#"
                    SELECT /* RefreshSession.find */ refused, waits, user_id, session_id, token_id, hash,
                        at AS "at!"
                    FROM identity.begin_refresh_1($1, $2, $3, $4)"#,
                    &hashes as &[Vec<u8>],
                    &limits.keys as &[Vec<u8>],
                    &limits.emissions as &[PgInterval],
                    &limits.tolerances as &[PgInterval],
                )
            })
            .await?;
        rate_limit::check(row.refused, row.waits, quotas, &[])?;
        let found = (row.user_id, row.session_id, row.token_id, row.hash);
        let (Some(user_id), Some(session_id), Some(token_id), Some(hash)) = found else {
            return Ok(None);
        };
        let key = TokenKey {
            user_id: UserId::new(user_id),
            session_id,
            token_id,
        };
        // The time was read before the answer arrived, so this is never later than the deadline.
        let remaining = TimeDelta::from_std(deadline.remaining()).unwrap_or(TimeDelta::MAX);
        Ok(Some(FoundToken {
            key,
            hash_key: KeyId::of_stored(&hash),
            not_after: row
                .at
                .checked_add_signed(remaining)
                .ok_or_else(|| DbError::unexpected("the time of a refresh"))?,
        }))
    }

    /// Uses the token that was found, stores `next` as its successor, and extends the session. When several simultaneous calls
    /// have one token, one of them does that, and the others get the same session. A token that was used more than
    /// [`GRACE`] before ends its session. All times are by the clock of Postgres, which
    /// is the same for the calls of all replicas.
    ///
    /// Only a call that uses a token counts towards `quotas`, which bound the number of stored tokens. The result names those
    /// of the `required` consents that are not in effect.
    ///
    /// # Errors
    ///
    /// When the call is over a limit, or when the database fails. The refresh may have been committed: a retry within the grace
    /// period returns the outcome. The statement is sent once, and changes nothing after the deadline.
    pub async fn refresh(
        &self,
        found: FoundToken,
        next: NewRefreshToken,
        (quotas, required): (&[Quota], &RequiredConsents),
        origin: &Origin,
        deadline: Deadline,
    ) -> Result<Refreshed, LimitError> {
        let key = found.key;
        let (person, limits) = (key.user_id, Arrays::of(quotas));
        let (documents, versions) = required.columns();
        let row = self
            .database
            .call("RefreshSession", Context::User(person), Effect::Once, deadline)
            .fetch_one(|| {
                sqlx::query!(
                    r#"
                    SELECT /* RefreshSession */ outcome AS "outcome!", issued_at, expires_at, refresh_expires_at,
                        missing_consents, refused, waits
                    FROM identity.refresh_session_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
                        $16)"#,
                    person.as_uuid(),
                    key.session_id,
                    key.token_id,
                    &documents as _,
                    &versions as _,
                    next.id,
                    next.hash.as_bytes(),
                    interval(GRACE),
                    interval(ACCESS_TOKEN_LIFETIME),
                    interval(REFRESH_TOKEN_LIFETIME),
                    origin.service.as_deref(),
                    origin.network_mac.as_ref().map(StoredMac::as_bytes),
                    &limits.keys as &[Vec<u8>],
                    &limits.emissions as &[PgInterval],
                    &limits.tolerances as &[PgInterval],
                    found.not_after,
                )
            })
            .await?;
        rate_limit::check(row.refused, row.waits, quotas, &[])?;
        let again = match row.outcome.as_str() {
            "refreshed" => false,
            "again" => true,
            "ended" => return Ok(Refreshed::Ended),
            "expired" => return Ok(Refreshed::Expired),
            "reused" => return Ok(Refreshed::Reused),
            "unknown" => return Ok(Refreshed::Unknown),
            "late" => return Err(DbError::deadline().into()),
            _ => return Err(DbError::unexpected("the outcome of a refresh").into()),
        };
        let times = (row.issued_at, row.expires_at, row.refresh_expires_at);
        let (Some(issued_at), Some(expires_at), Some(refresh_expires_at)) = times else {
            return Err(DbError::unexpected("a refresh without times").into());
        };
        let missing = row.missing_consents.unwrap_or_default();
        let refreshed = RefreshedSession {
            session: Session {
                id: key.session_id,
                user_id: person,
                issued_at,
                expires_at,
                refresh_expires_at,
            },
            missing_consents: consents(&missing)?,
        };
        Ok(match again {
            false => Refreshed::Session(refreshed),
            true => Refreshed::Again(refreshed),
        })
    }
}

/// Converts a lifetime. It has hours, and no days, which Postgres would add in the session's time zone.
fn interval(lifetime: TimeDelta) -> PgInterval {
    rate_limit::interval(lifetime.to_std().unwrap_or_default())
}
