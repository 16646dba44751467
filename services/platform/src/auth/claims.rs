//! What access tokens say.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::problem::Problem;
use crate::{failure::Failure, reason::Reason};

/// The role that a person's token names, as Supabase and PostgREST have it.
pub const ROLE: &str = "authenticated";

/// How far ahead of ours, in seconds, the clock of whoever made a token may be.
const LEEWAY: f64 = 60.0;

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
pub(super) struct Presented {
    pub(super) sub: Uuid,
    role: String,
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    pub(super) session_id: Option<Uuid>,
}

impl Presented {
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
            return Err(Problem::Audience.into());
        }
        let claims: Self = serde_json::from_value(Value::Object(claims)).map_err(|_| Problem::Claims)?;
        let now = now.timestamp() as f64;
        if claims.exp <= now {
            return Err(Failure::new(Reason::TokenExpired));
        }
        let is_early = |time: Option<f64>| time.is_some_and(|time| time > now + LEEWAY);
        if is_early(claims.nbf) || is_early(claims.iat) {
            return Err(Problem::NotYetValid.into());
        }
        if claims.role != ROLE || claims.sub.is_nil() {
            return Err(Problem::Claims.into());
        }
        Ok(claims)
    }
}
