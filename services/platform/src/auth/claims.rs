//! What access tokens say.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::token_problem::TokenProblem;
use crate::{failure::Failure, reason::Reason};

/// The role that a person's token names, as Supabase and PostgREST have it.
pub const ROLE: &str = "authenticated";

/// How far ahead of ours, in seconds, the clock of whoever made a token may be.
const CLOCK_SKEW: f64 = 60.0;

/// The longest that a token is taken to be worth something, in seconds: whoever asks has ended long before.
const MAX_VALIDITY: f64 = 24.0 * 60.0 * 60.0;

/// What our own tokens say, in the shape that Supabase and PostgREST accept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who made it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// The person.
    pub sub: Uuid,
    /// [`ROLE`].
    pub role: String,
    /// When it was made, in seconds since 1970.
    pub iat: i64,
    /// From when on it is worth nothing, in seconds since 1970.
    pub exp: i64,
    /// The session that it belongs to.
    pub session_id: Option<Uuid>,
}

/// What is read of a token that anybody may have made: times can have fractions (RFC 7519, section 2).
#[derive(Deserialize)]
pub(super) struct PresentedClaims {
    pub(super) sub: Uuid,
    role: String,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    pub(super) session_id: Option<Uuid>,
}

impl PresentedClaims {
    /// The claims of a token that is for `audience` and valid at `now`.
    ///
    /// # Errors
    ///
    /// TOKEN_EXPIRED; TOKEN_INVALID with AUDIENCE, NOT_YET_VALID or CLAIMS.
    pub(super) fn read(
        claims: Map<String, Value>,
        audience: &str,
        now: DateTime<Utc>,
    ) -> Result<Self, Failure> {
        let is_for_us = match claims.get("aud") {
            Some(Value::String(aud)) => aud == audience,
            Some(Value::Array(several)) => several.iter().any(|aud| aud == audience),
            _ => false,
        };
        if !is_for_us {
            return Err(TokenProblem::Audience.into());
        }
        let claims: Self = serde_json::from_value(Value::Object(claims)).map_err(|_| TokenProblem::Claims)?;
        let now = now.timestamp() as f64;
        if claims.exp <= now {
            return Err(Failure::new(Reason::TokenExpired));
        }
        let is_early = |time: Option<f64>| time.is_some_and(|time| time > now + CLOCK_SKEW);
        if is_early(claims.nbf) || is_early(claims.iat) {
            return Err(TokenProblem::NotYetValid.into());
        }
        if claims.role != ROLE || claims.sub.is_nil() {
            return Err(TokenProblem::Claims.into());
        }
        Ok(claims)
    }

    /// How long it is from `now` until [`PresentedClaims::read`] says that they have expired, and [`MAX_VALIDITY`] at most.
    pub(super) fn valid_for(&self, now: DateTime<Utc>) -> Duration {
        let now = now.timestamp_micros() as f64 / 1e6;
        Duration::from_secs_f64((self.exp.ceil() - now).clamp(0.0, MAX_VALIDITY))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn claims_are_valid_until_the_moment_at_which_they_would_be_refused() {
        let now = DateTime::from_timestamp(1_800_000_000, 250_000_000).unwrap();
        let valid_for = |exp: f64| {
            let claims = serde_json::json!({
                "aud": "us", "sub": Uuid::from_u128(1), "role": ROLE, "exp": exp,
            });
            let read = |now| PresentedClaims::read(claims.as_object().unwrap().clone(), "us", now);
            let valid_for = read(now).unwrap().valid_for(now);
            let end = now + TimeDelta::from_std(valid_for).unwrap();
            let moment = TimeDelta::milliseconds(1);
            (valid_for, read(end - moment).is_ok(), read(end + moment).is_ok())
        };
        let within = |millis| (Duration::from_millis(millis), true, false);
        assert_eq!(valid_for(1_800_000_001.0), within(750));
        assert_eq!(valid_for(1_800_000_001.5), within(1_750));
        assert_eq!(valid_for(1e300).0, Duration::from_secs(24 * 60 * 60));
    }
}
