//! Whose token it is.

use std::{collections::HashMap, future::pending, sync::Arc};

use jsonwebtoken::Algorithm;
use tokio::time::{Instant, sleep_until};

use super::{
    claims::PresentedClaims,
    ended_sessions::EndedSessions,
    issuer::TrustedIssuer,
    key_set::{KeyLookup, KeySet},
    token::Token,
    token_problem::TokenProblem,
    verifying_key::VerifyingKey,
};
use crate::{
    call::{User, UserId},
    deadline::Deadline,
    failure::Failure,
    reason::Reason,
    time::Clock,
};

/// Says whose token it is, and refuses every token that is not as it has to be.
///
/// A token says who made it, and that decides which keys may have signed it; the key, and never the token, decides by which
/// algorithm.
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    issuer: String,
    audience: String,
    keys: Arc<KeySet>,
    ended: Arc<EndedSessions>,
    trusted: Arc<HashMap<String, TrustedIssuer>>,
    clock: Clock,
}

impl TokenVerifier {
    /// Accepts the tokens that `issuer`, which is our own, made for `audience` with one of `keys`, but for those of
    /// sessions that are among `ended`.
    #[must_use]
    pub fn new(
        issuer: String,
        audience: String,
        keys: Arc<KeySet>,
        ended: Arc<EndedSessions>,
        clock: Clock,
    ) -> Self {
        Self {
            issuer,
            audience,
            keys,
            ended,
            trusted: Arc::default(),
            clock,
        }
    }

    /// Accepts, too, what these others made for the same audience. Our own issuer's name stays our own.
    #[must_use]
    pub fn trusting(mut self, issuers: Vec<TrustedIssuer>) -> Self {
        let named = issuers
            .into_iter()
            .map(|issuer| (issuer.name().to_owned(), issuer));
        self.trusted = Arc::new(named.collect());
        self
    }

    /// Whose token it is.
    ///
    /// # Errors
    ///
    /// TOKEN_EXPIRED; SESSION_REVOKED; TOKEN_INVALID, whose metadata say under `problem` what is wrong;
    /// DEPENDENCY_UNAVAILABLE when the keys, or the sessions that were ended, are not known yet.
    pub async fn verify(&self, token: &str, deadline: Deadline) -> Result<User, Failure> {
        let token = Token::parse(token)?;
        let issuer = token.issuer().ok_or(TokenProblem::Issuer)?;
        let foreign = issuer != self.issuer;
        if foreign {
            let issuer = self.trusted.get(issuer).ok_or(TokenProblem::Issuer)?;
            token.check(issuer.key(token.key_id.as_deref())?)?;
        } else {
            token.check(&self.own_key(&token, deadline).await?)?;
        }
        let now = self.clock.now();
        let claims = PresentedClaims::read(token.claims, &self.audience, now)?;
        if !foreign {
            // Every token of ours belongs to a session; one that does not could never be taken back.
            let session = claims.session_id.ok_or(TokenProblem::Claims)?;
            self.ended.check(session, deadline).await?;
        }
        Ok(User {
            id: UserId::new(claims.sub),
            session_id: claims.session_id,
            foreign,
            valid_until: Some(Instant::now() + claims.valid_for(now)),
        })
    }

    /// Waits until a call of `user` with the same token would be refused. Answers why: TOKEN_EXPIRED or SESSION_REVOKED.
    pub(crate) async fn refusal(&self, user: User) -> Failure {
        let ended = async {
            match user.own_session() {
                Some(session) => self.ended.ended(session).await,
                None => pending().await,
            }
        };
        let expired = async {
            match user.valid_until {
                Some(time) => sleep_until(time).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = ended => Failure::new(Reason::SessionRevoked),
            () = expired => Failure::new(Reason::TokenExpired),
        }
    }

    async fn own_key(&self, token: &Token<'_>, deadline: Deadline) -> Result<VerifyingKey, Failure> {
        // We sign with nothing else, so nobody is asked for the key of such a token.
        if token.algorithm != Algorithm::ES256 {
            return Err(TokenProblem::Algorithm.into());
        }
        let id = token.key_id.as_deref().ok_or(TokenProblem::KeyUnknown)?;
        match self.keys.find(id, deadline).await {
            KeyLookup::Key(key) => Ok(key),
            KeyLookup::Unknown => Err(TokenProblem::KeyUnknown.into()),
            KeyLookup::NoKeys => Err(Failure::new(Reason::DependencyUnavailable)),
        }
    }
}

#[cfg(test)]
mod tests;
