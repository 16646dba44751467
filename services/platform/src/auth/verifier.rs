//! The verification of access tokens.

use std::{collections::HashMap, future::pending, mem, sync::Arc};

use jsonwebtoken::Algorithm;
use tokio::time::{Instant, sleep_until};

use super::{
    claim_rules::ClaimRules,
    claims::PresentedClaims,
    ended_sessions::EndedSessions,
    issuer::TrustedIssuer,
    key_set::{KeyLookup, KeySet},
    token::Token,
    token_cache::{KnownToken, TokenCache, TokenDigest},
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
///
/// The signature of a token is verified once. Everything that can change is asked on every call: the rules of the issuer, its
/// keys, the time, and the ended sessions.
#[derive(Clone, Debug)]
pub struct TokenVerifier {
    issuer: Arc<str>,
    rules: Arc<ClaimRules>,
    keys: Arc<KeySet>,
    ended: Arc<EndedSessions>,
    trusted: Arc<HashMap<Arc<str>, TrustedIssuer>>,
    known: Arc<TokenCache>,
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
            issuer: issuer.into(),
            rules: Arc::new(ClaimRules::standard(audience)),
            keys,
            ended,
            trusted: Arc::default(),
            known: Arc::new(TokenCache::new()),
            clock,
        }
    }

    /// Also accepts the tokens of these issuers, each by its own rules. An entry with the name of Haven's own issuer is
    /// never used.
    #[must_use]
    pub fn trusting(mut self, issuers: Vec<TrustedIssuer>) -> Self {
        let named = issuers
            .into_iter()
            .map(|issuer| (Arc::clone(issuer.name()), issuer));
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
        Token::check_length(token)?;
        let digest = TokenDigest::of(token);
        let known = match self.known.get(&digest) {
            Some(known) if self.is_good(&known) => known,
            known => {
                if known.is_some() {
                    // It is refused below, for the reason that holds now.
                    self.known.remove(&digest);
                }
                let known = Arc::new(self.read(token, deadline).await?);
                self.known.insert(digest, Arc::clone(&known));
                known
            }
        };
        // A session of another issuer cannot be ended here, so it is not read.
        if let Some(session) = known.session {
            self.ended
                .check(UserId::new(known.user), session, deadline)
                .await?;
        }
        let user = User {
            id: UserId::new(known.user),
            session_id: known.session,
            foreign: known.session.is_none(),
            valid_until: Some(Instant::now() + known.validity.valid_for(self.clock.now())),
        };
        Ok(Verified {
            user,
            unmet: known.unmet.clone(),
        })
    }

    /// Returns whether a known token would be accepted now as well: its issuer is trusted, with the rules that the claims
    /// were read with, and still has the very key that made the signature; and it is the time for it.
    fn is_good(&self, known: &KnownToken) -> bool {
        let (rules, has_key) = if known.issuer == self.issuer {
            let id = known.key_id.as_deref();
            (&self.rules, id.is_some_and(|id| self.keys.holds(id, &known.key)))
        } else {
            match self.trusted.get(&known.issuer) {
                Some(issuer) => (issuer.rules(), issuer.holds(known.key_id.as_deref(), &known.key)),
                None => return false,
            }
        };
        Arc::ptr_eq(rules, &known.rules) && has_key && known.validity.includes(self.clock.now())
    }

    /// Verifies the signature and reads the claims.
    async fn read(&self, token: &str, deadline: Deadline) -> Result<KnownToken, Failure> {
        let mut token = Token::parse(token)?;
        let issuer = token.issuer().ok_or(TokenProblem::Issuer)?;
        let trusted = match *issuer == *self.issuer {
            true => None,
            false => Some(self.trusted.get(issuer).ok_or(TokenProblem::Issuer)?),
        };
        let (name, rules, keys) = match trusted {
            None => (
                &self.issuer,
                &self.rules,
                vec![self.own_key(&token, deadline).await?],
            ),
            Some(issuer) => (
                issuer.name(),
                issuer.rules(),
                issuer.keys(&token, deadline).await?,
            ),
        };
        let key = token.check(keys)?;
        let claims = PresentedClaims::read(mem::take(&mut token.claims), name, rules, self.clock.now())?;
        let (unmet, session) = match trusted {
            None => (claims.unmet()?, Some(claims.session()?)),
            Some(_) => (Vec::new(), None),
        };
        Ok(KnownToken {
            issuer: Arc::clone(name),
            rules: Arc::clone(rules),
            key_id: token.key_id,
            key,
            validity: claims.validity,
            user: claims.user,
            session,
            unmet,
        })
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
