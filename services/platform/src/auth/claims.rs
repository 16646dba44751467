//! The claims of access tokens.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::token_problem::TokenProblem;
use crate::{failure::Failure, reason::Reason};

/// The role in a user's token, as Supabase and PostgREST use it.
pub const ROLE: &str = "authenticated";

/// The seconds by which the issuer's clock may be ahead of ours.
const CLOCK_SKEW: f64 = 60.0;

/// The longest time, in seconds, for which a verified token counts as valid. Every call has ended long before that.
const MAX_VALIDITY: f64 = 24.0 * 60.0 * 60.0;

/// The claims of Haven's own tokens, in the shape that Supabase and PostgREST accept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The name of the token issuer.
    pub iss: String,
    /// The audience that the token is for.
    pub aud: String,
    /// The user's id, a UUID.
    pub sub: Uuid,
    /// The role, which is [`ROLE`].
    pub role: String,
    /// The time of issue, in seconds since 1970.
    pub iat: i64,
    /// The time from which on the token is invalid, in seconds since 1970.
    pub exp: i64,
    /// The session that the token belongs to.
    pub session_id: Option<Uuid>,
    /// The consents to required documents that the user lacked when the token was issued, such as `terms=2026-01`. Left
    /// out when there are none.
    #[serde(default, rename = "missing_consents", skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<String>,
}

/// The claims that are read from a token of any issuer. Times can have fractions (RFC 7519, section 2).
#[derive(Deserialize)]
pub(super) struct PresentedClaims {
    pub(super) sub: Uuid,
    role: String,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    pub(super) session_id: Option<Uuid>,
    /// Of any type: another issuer may use the name for something else.
    #[serde(default, rename = "missing_consents")]
    unmet: Value,
}

impl PresentedClaims {
    /// Reads the claims of a token that is for `audience` and valid at `now`.
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

    /// Takes the consents that the user of one of Haven's own tokens lacks.
    ///
    /// # Errors
    ///
    /// TOKEN_INVALID with CLAIMS.
    pub(super) fn take_unmet(&mut self) -> Result<Vec<String>, TokenProblem> {
        match self.unmet.take() {
            Value::Null => Ok(Vec::new()),
            claim => serde_json::from_value(claim).map_err(|_| TokenProblem::Claims),
        }
    }

    /// Returns the time from `now` until [`PresentedClaims::read`] refuses the claims as expired, at most
    /// [`MAX_VALIDITY`].
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
    fn unmet_requirements_are_a_list_that_may_be_left_out() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let missing = |value: Value| {
            let claims = serde_json::json!({
                "aud": "us", "sub": Uuid::from_u128(1), "role": ROLE, "exp": 1_800_000_001, "missing_consents": value,
            });
            let read = PresentedClaims::read(claims.as_object().unwrap().clone(), "us", now);
            read.unwrap().take_unmet()
        };
        assert_eq!(missing(serde_json::json!(["terms=2"])).unwrap(), ["terms=2"]);
        assert!(missing(Value::Null).unwrap().is_empty());
        // Every other type is read, because the token may be another issuer's.
        assert!(missing(serde_json::json!(true)).is_err());
    }

    #[test]
    fn claims_count_as_valid_until_they_are_refused_as_expired() {
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
