//! Access tokens: JSON Web Tokens (RFC 7519) signed with ES256.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{Found, KeySet};
use crate::{
    call::{User, UserId},
    deadline::Deadline,
    failure::Failure,
    reason::Reason,
    time::Clock,
};

/// The role that a person's token names, as Supabase and PostgREST have it.
pub const ROLE: &str = "authenticated";

/// Longer than any token that identity makes by a factor of ten.
const LONGEST: usize = 8192;

/// What a token says, in the shape that Supabase and PostgREST accept.
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

/// Says whose token it is, and refuses every token that is not as it has to be.
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    issuer: String,
    audience: String,
    keys: Arc<KeySet>,
    clock: Clock,
}

impl TokenVerifier {
    /// Accepts the tokens that `issuer` made for `audience` with one of `keys`.
    #[must_use]
    pub fn new(issuer: String, audience: String, keys: Arc<KeySet>, clock: Clock) -> Self {
        Self {
            issuer,
            audience,
            keys,
            clock,
        }
    }

    /// Whose token it is.
    ///
    /// # Errors
    ///
    /// TOKEN_EXPIRED; TOKEN_INVALID, whose metadata say under `problem` what is wrong; DEPENDENCY_UNAVAILABLE when
    /// the keys are not known yet.
    pub async fn verify(&self, token: &str, deadline: Deadline) -> Result<User, Failure> {
        if token.len() > LONGEST {
            return Err(invalid("TOO_LONG"));
        }
        let header = decode_header(token).map_err(|error| match error.kind() {
            // A name that is no algorithm, `none` among them, does not even parse.
            ErrorKind::InvalidAlgorithmName | ErrorKind::Json(_) => invalid("ALGORITHM_OR_HEADER"),
            _ => invalid("MALFORMED"),
        })?;
        if header.alg != Algorithm::ES256 {
            return Err(invalid("ALGORITHM_OR_HEADER"));
        }
        let key_id = header.kid.ok_or_else(|| invalid("KEY_UNKNOWN"))?;
        let key = match self.keys.find(&key_id, deadline).await {
            Found::Key(key) => key,
            Found::Unknown => return Err(invalid("KEY_UNKNOWN")),
            Found::NoKeys => return Err(Failure::new(Reason::DependencyUnavailable)),
        };
        let claims = decode::<Claims>(token, &key.key, &self.validation())
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => invalid("SIGNATURE"),
                ErrorKind::InvalidIssuer => invalid("ISSUER"),
                ErrorKind::InvalidAudience => invalid("AUDIENCE"),
                ErrorKind::InvalidToken | ErrorKind::Base64(_) => invalid("MALFORMED"),
                _ => invalid("CLAIMS"),
            })?
            .claims;
        let now = self.clock.now().timestamp();
        if claims.exp <= now {
            return Err(Failure::new(Reason::TokenExpired));
        }
        if claims.role != ROLE || claims.sub.is_nil() {
            return Err(invalid("CLAIMS"));
        }
        Ok(User {
            id: UserId::new(claims.sub),
            session_id: claims.session_id,
        })
    }

    fn validation(&self) -> Validation {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // By our clock, which tests move, and to the second.
        validation.validate_exp = false;
        validation
    }
}

fn invalid(problem: &'static str) -> Failure {
    Failure::new(Reason::TokenInvalid).metadata("problem", problem)
}
