//! The token that a call brings, and what an earlier call with the same request id did with it.

use haven_platform::{
    call::Call,
    failure::Failure,
    mac::{KeyId, StoredMac},
    reason::Reason,
    request_key::RequestKey,
};

use super::{RecoveryRpc, count};
use crate::{
    domain::{
        rate_limit::FailureKeys,
        recovery::{RecoveryKind, RecoveryToken},
    },
    store::recovery::{FoundToken, Used},
};

/// A token that can be used, or the answer to a retry.
pub(super) enum Found {
    /// The token can be used.
    Token(FoundToken),
    /// The same request used the token before.
    Retry(Retry),
}

/// The answer to a request that used a token before.
pub(super) struct Retry {
    /// The token.
    pub(super) found: FoundToken,
    /// The answer.
    pub(super) used: Used,
    /// The id of the key that the tokens of the answer are derived from.
    pub(super) key: KeyId,
}

impl RecoveryRpc {
    /// Finds `token`, which is to be used for `kind` by a request of `method`. Wrong passwords that were counted under
    /// `failures` make a retry wait.
    ///
    /// # Errors
    ///
    /// RECOVERY_TOKEN_INVALID, for every token that cannot be used; REQUEST_ID_REUSED; RATE_LIMITED.
    pub(super) async fn find(
        &self,
        call: &Call,
        token: &RecoveryToken,
        kind: RecoveryKind,
        (method, request): (&'static str, &RequestKey),
        failures: Option<&FailureKeys>,
    ) -> Result<Found, Failure> {
        let hashes = self
            .keys
            .iter()
            .map(|(id, key)| StoredMac::new(token.hash(key), id));
        let quotas = self
            .rate_limit_keys
            .quotas("RecoveryToken", &self.use_limits, call, None);
        let retries = self
            .rate_limit_keys
            .retry_quota(method, token.expose(), request.id);
        let invalid = || {
            count(kind, "refused");
            Failure::new(Reason::RecoveryTokenInvalid)
        };
        let found = self
            .recovery
            .find_token(
                hashes,
                (method, request),
                (&quotas, &retries),
                failures,
                call.deadline,
            )
            .await?
            .ok_or_else(invalid)?;
        if let Some(earlier) = &found.earlier {
            return match earlier.answer_to(method, request) {
                Some((used, key)) => Ok(Found::Retry(Retry { found, used, key })),
                None => Err(Failure::new(Reason::RequestIdReused)),
            };
        }
        if !found.is_usable(kind) {
            return Err(invalid());
        }
        Ok(Found::Token(found))
    }

    /// Returns the answer of another call with the same request, after which the token could not be used any more.
    ///
    /// # Errors
    ///
    /// RECOVERY_TOKEN_INVALID when there was no such call, and the errors of [`RecoveryRpc::find`].
    pub(super) async fn first_answer(
        &self,
        call: &Call,
        token: &RecoveryToken,
        kind: RecoveryKind,
        request: (&'static str, &RequestKey),
        failures: Option<&FailureKeys>,
    ) -> Result<Retry, Failure> {
        match self.find(call, token, kind, request, failures).await? {
            Found::Retry(retry) => Ok(retry),
            // The token expired in between.
            Found::Token(_) => Err(Failure::new(Reason::RecoveryTokenInvalid)),
        }
    }
}
