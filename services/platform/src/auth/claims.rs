//! The claims of access tokens.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    claim_rules::ClaimRules,
    token_problem::{ClaimProblem, TokenProblem},
};
use crate::{failure::Failure, reason::Reason};

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
    /// The role, which is [`ROLE`](super::ROLE).
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

/// What the claims of a verified token state.
#[derive(Debug)]
pub(super) struct PresentedClaims {
    pub(super) user: Uuid,
    pub(super) validity: Validity,
    claims: Map<String, Value>,
}

/// The time in which a token is valid, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Validity {
    exp: f64,
    /// The later one of `nbf` and `iat`; `None` without both.
    begin: Option<f64>,
}

impl PresentedClaims {
    /// Reads the claims of a token of `issuer` that follows its `rules` and is valid at `now`.
    ///
    /// # Errors
    ///
    /// TOKEN_EXPIRED; TOKEN_INVALID with AUDIENCE, NOT_YET_VALID or CLAIMS.
    pub(super) fn read(
        claims: Map<String, Value>,
        issuer: &str,
        rules: &ClaimRules,
        now: DateTime<Utc>,
    ) -> Result<Self, Failure> {
        rules.check_audience(&claims)?;
        let exp = seconds(&claims, "exp")?.ok_or_else(|| invalid("exp", "must be a number"))?;
        let mut validity = Validity::until(exp);
        if validity.has_ended(now) {
            return Err(Failure::new(Reason::TokenExpired));
        }
        for name in ["nbf", "iat"] {
            let begin = seconds(&claims, name)?;
            validity.begin = begin.into_iter().chain(validity.begin).reduce(f64::max);
            if !validity.has_begun(now) {
                let problem = ClaimProblem::new(name, "must not be more than a minute from now");
                return Err(TokenProblem::NotYetValid(problem).into());
            }
        }
        let user = rules.user(issuer, &claims)?;
        Ok(Self {
            user,
            validity,
            claims,
        })
    }

    /// Returns the session that one of Haven's own tokens belongs to. A token without one could not be revoked.
    ///
    /// # Errors
    ///
    /// TOKEN_INVALID with CLAIMS.
    pub(super) fn session(&self) -> Result<Uuid, TokenProblem> {
        let id = self.claims.get("session_id").and_then(Value::as_str);
        id.and_then(|id| Uuid::try_parse(id).ok())
            .ok_or_else(|| invalid("session_id", "must be a UUID"))
    }

    /// Returns the consents that the user of one of Haven's own tokens lacks. Another issuer may use the claim's name for
    /// something else.
    ///
    /// # Errors
    ///
    /// TOKEN_INVALID with CLAIMS.
    pub(super) fn unmet(&self) -> Result<Vec<String>, TokenProblem> {
        match self.claims.get("missing_consents") {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(claim) => {
                Vec::deserialize(claim).map_err(|_| invalid("missing_consents", "must be an array of texts"))
            }
        }
    }
}

impl Validity {
    /// Returns the time that ends at `exp`, and has no begin.
    pub(super) fn until(exp: f64) -> Self {
        Self { exp, begin: None }
    }

    /// Returns whether the token has expired at `now`.
    fn has_ended(self, now: DateTime<Utc>) -> bool {
        self.exp <= now.timestamp() as f64
    }

    /// Returns whether the token is valid at `now` already, by a clock that may be behind that of its issuer.
    fn has_begun(self, now: DateTime<Utc>) -> bool {
        self.begin
            .is_none_or(|begin| begin <= now.timestamp() as f64 + CLOCK_SKEW)
    }

    /// Returns whether [`PresentedClaims::read`] accepts the times at `now`.
    pub(super) fn includes(self, now: DateTime<Utc>) -> bool {
        self.has_begun(now) && !self.has_ended(now)
    }

    /// Returns the time from `now` until [`PresentedClaims::read`] refuses the claims as expired, at most
    /// [`MAX_VALIDITY`].
    pub(super) fn valid_for(self, now: DateTime<Utc>) -> Duration {
        let now = now.timestamp_micros() as f64 / 1e6;
        Duration::from_secs_f64((self.exp.ceil() - now).clamp(0.0, MAX_VALIDITY))
    }
}

/// Returns the time in the claim `name`, in seconds since 1970, which can have fractions (RFC 7519, section 2).
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, TokenProblem> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(time) => time
            .as_f64()
            .map(Some)
            .ok_or_else(|| invalid(name, "must be a number")),
    }
}

fn invalid(claim: &str, rule: &'static str) -> TokenProblem {
    TokenProblem::Claims(ClaimProblem::new(claim, rule))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::{super::ROLE, *};

    #[test]
    fn unmet_requirements_are_a_list_that_may_be_left_out() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let missing = |value: Value| {
            let claims = serde_json::json!({
                "aud": "us", "sub": Uuid::from_u128(1), "role": ROLE, "exp": 1_800_000_001, "missing_consents": value,
            });
            let rules = ClaimRules::standard("us");
            let read = PresentedClaims::read(claims.as_object().unwrap().clone(), "haven", &rules, now);
            read.unwrap().unmet()
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
            let rules = ClaimRules::standard("us");
            let read = |now| PresentedClaims::read(claims.as_object().unwrap().clone(), "haven", &rules, now);
            let validity = read(now).unwrap().validity;
            let valid_for = validity.valid_for(now);
            let end = now + TimeDelta::from_std(valid_for).unwrap();
            let moment = TimeDelta::milliseconds(1);
            for time in [end - moment, end + moment] {
                assert_eq!(validity.includes(time), read(time).is_ok());
            }
            (valid_for, read(end - moment).is_ok(), read(end + moment).is_ok())
        };
        let within = |millis| (Duration::from_millis(millis), true, false);
        assert_eq!(valid_for(1_800_000_001.0), within(750));
        assert_eq!(valid_for(1_800_000_001.5), within(1_750));
        assert_eq!(valid_for(1e300).0, Duration::from_secs(24 * 60 * 60));
    }
}
