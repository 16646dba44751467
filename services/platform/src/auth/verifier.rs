//! The verification of access tokens.

use std::{collections::HashMap, future::pending, sync::Arc};

use jsonwebtoken::Algorithm;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;

use super::{
    claim_rules::ClaimRules,
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

/// A user with a verified token.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) user: User,
    /// The consents to required documents that the user lacks, as the token states. Empty for tokens of other issuers.
    pub(crate) unmet: Vec<String>,
}

/// Verifies access tokens and returns their users.
///
/// The token's issuer decides which keys may have signed it. The key, and never the token, decides the algorithm.
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    issuer: String,
    rules: Arc<ClaimRules>,
    keys: Arc<KeySet>,
    ended: Arc<EndedSessions>,
    trusted: Arc<HashMap<String, TrustedIssuer>>,
    clock: Clock,
}

impl TokenVerifier {
    /// Creates a verifier that accepts the tokens of Haven's own `issuer` for `audience` that are signed with one of
    /// `keys`, except those of sessions in `ended`.
    #[must_use]
    pub fn new(
        issuer: String,
        audience: &str,
        keys: Arc<KeySet>,
        ended: Arc<EndedSessions>,
        clock: Clock,
    ) -> Self {
        Self {
            issuer,
            rules: Arc::new(ClaimRules::standard(audience)),
            keys,
            ended,
            trusted: Arc::default(),
            clock,
        }
    }

    /// Also accepts the tokens of these issuers, each by its own rules. An entry with the name of Haven's own issuer is
    /// never used.
    #[must_use]
    pub fn trusting(mut self, issuers: Vec<TrustedIssuer>) -> Self {
        let named = issuers
            .into_iter()
            .map(|issuer| (issuer.name().to_owned(), issuer));
        self.trusted = Arc::new(named.collect());
        self
    }

    /// Verifies `token` and returns its user.
    ///
    /// # Errors
    ///
    /// TOKEN_EXPIRED; SESSION_REVOKED; TOKEN_INVALID with a `problem` in its metadata; DEPENDENCY_UNAVAILABLE when the
    /// keys or the ended sessions are not known yet.
    pub async fn verify(&self, token: &str, deadline: Deadline) -> Result<User, Failure> {
        Ok(self.verify_claims(token, deadline).await?.user)
    }

    /// Verifies `token` as [`TokenVerifier::verify`] does, and also returns what it states about its user.
    ///
    /// # Errors
    ///
    /// Those of [`TokenVerifier::verify`].
    pub(crate) async fn verify_claims(&self, token: &str, deadline: Deadline) -> Result<Verified, Failure> {
        let token = Token::parse(token)?;
        let issuer = token.issuer().ok_or(TokenProblem::Issuer)?;
        if issuer != self.issuer {
            let issuer = self.trusted.get(issuer).ok_or(TokenProblem::Issuer)?;
            token.check(&issuer.keys(&token, deadline).await?)?;
            let claims =
                PresentedClaims::read(token.claims, issuer.name(), issuer.rules(), self.clock.now())?;
            // A session of another issuer cannot be ended here, so it is not read.
            return Ok(self.verified(&claims, None, Vec::new()));
        }
        token.check(&[self.own_key(&token, deadline).await?])?;
        let claims = PresentedClaims::read(token.claims, &self.issuer, &self.rules, self.clock.now())?;
        let (unmet, session) = (claims.unmet()?, claims.session()?);
        self.ended
            .check(UserId::new(claims.user), session, deadline)
            .await?;
        Ok(self.verified(&claims, Some(session), unmet))
    }

    /// Returns the user of a token. Without a session it is another issuer's.
    fn verified(&self, claims: &PresentedClaims, session_id: Option<Uuid>, unmet: Vec<String>) -> Verified {
        let user = User {
            id: UserId::new(claims.user),
            session_id,
            foreign: session_id.is_none(),
            valid_until: Some(Instant::now() + claims.valid_for(self.clock.now())),
        };
        Verified { user, unmet }
    }

    /// Waits until a call of `user` with the same token would be refused. Returns the failure: TOKEN_EXPIRED or
    /// SESSION_REVOKED.
    pub(crate) async fn refusal(&self, user: User) -> Failure {
        let ended = async {
            match user.own_session() {
                Some(session) => self.ended.ended(user.id, session).await,
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
        // Haven signs with ES256 only, so no key is requested for another algorithm.
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
