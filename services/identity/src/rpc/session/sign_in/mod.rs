//! SignIn: beginning a session.

pub(in crate::rpc) mod parse;

use haven_platform::{
    call::{Call, UserId},
    database::DbError,
    failure::Failure,
    reason::Reason,
    time::timestamp,
};
use haven_proto::identity::v1::{SignInRequest, SignInResponse};
use secrecy::ExposeSecret;

use crate::rpc::{IdentityRpc, rate_limit_keys::origin, session::sign_in::parse::SignIn};
use crate::{
    domain::{
        account::PasswordHash, audit::Origin, provider::AuthProvider, refresh_token::RefreshToken,
        session::Session,
    },
    hashing::{Checked, HashingError},
    store::session::sign_in::{BeginError, NewRefreshToken, NewSession},
};

/// Whose password was right, and what follows from that.
struct Proven {
    user_id: UserId,
    password_version: i64,
    upgraded: Option<PasswordHash>,
}

impl IdentityRpc {
    pub(in crate::rpc) async fn sign_in_of(
        &self,
        call: &Call,
        request: SignInRequest,
    ) -> Result<SignInResponse, Failure> {
        if self.provider == AuthProvider::External {
            return Err(Failure::new(Reason::AuthProviderExternal));
        }
        let sign_in = SignIn::parse(request, &self.requests)?;
        let session = self.begin(call, sign_in).await?;
        let token = self.signer.sign(&session).map_err(Failure::internal)?;
        // A retry answers the same one, also when it was used since; then it is worth what a used one is worth.
        let refresh_token = RefreshToken::first(&self.refresh, session.user_id, session.id);
        Ok(SignInResponse {
            access_token: token.expose_secret().to_owned(),
            access_token_expire_time: Some(timestamp(session.expires_at)),
            user_id: session.user_id.to_string(),
            session_id: session.id.to_string(),
            refresh_token: refresh_token.text().expose_secret().to_owned(),
            refresh_token_expire_time: Some(timestamp(session.refresh_expires_at)),
        })
    }

    /// Two transactions, and the hash in neither: a connection is not held while somebody waits for a core.
    async fn begin(&self, call: &Call, sign_in: SignIn) -> Result<Session, Failure> {
        let failures = self.limit_keys.failures(sign_in.email.canonical());
        let origin = origin(call, &self.networks);
        let request = sign_in.request;
        let proven = self.prove_sign_in(call, sign_in, failures, &origin).await?;
        let at = self.clock.now();
        let session = Session::begin(self.entropy.uuid_v7(&self.clock), proven.user_id, at);
        let token = RefreshToken::first(&self.refresh, session.user_id, session.id);
        let new = NewSession {
            session,
            token: self.kept(&token),
            request: &request,
            password_version: proven.password_version,
            upgraded: proven.upgraded,
            failures,
            origin: &origin,
            at,
        };
        self.sessions
            .begin(new, call.deadline)
            .await
            .map_err(|error| match error {
                BeginError::PasswordChanged => Failure::new(Reason::CredentialsInvalid),
                BeginError::RequestIdReused => Failure::new(Reason::RequestIdReused),
                BeginError::Database(error) => error.into(),
            })
    }

    /// Whose password it is. Without an account the same work is done, so that the time tells nobody who has one; only a
    /// hash that was imported takes a time of its own, until its person signs in.
    async fn prove_sign_in(
        &self,
        call: &Call,
        sign_in: SignIn,
        failures: [u8; 32],
        origin: &Origin,
    ) -> Result<Proven, Failure> {
        let quotas = self
            .limit_keys
            .quotas("SignIn", &self.sign_in_limits, call, Some(&sign_in.email));
        let found = self
            .sessions
            .find_credential(sign_in.email.canonical(), &quotas, &failures, call.deadline)
            .await?;
        let (account, stored) = match found {
            Some(found) => (Some((found.user_id, found.password_version)), found.password_hash),
            None => (None, None),
        };
        let checked = self
            .passwords
            .verify_and_upgrade(sign_in.password, stored, call.deadline);
        let refusal = match (checked.await, account) {
            (Ok(Checked::Right { upgraded }), Some((user_id, password_version))) => {
                return Ok(Proven {
                    user_id,
                    password_version,
                    upgraded,
                });
            }
            (Ok(Checked::Right { .. } | Checked::Wrong), _) => Failure::new(Reason::CredentialsInvalid),
            (Err(HashingError::Unusable(unusable)), _) => {
                Failure::new(Reason::CredentialsInvalid).because(unusable)
            }
            (Err(error @ (HashingError::Overloaded(_) | HashingError::Internal(_))), _) => {
                return Err(error.into());
            }
        };
        let user_id = account.map(|(user_id, _)| user_id);
        self.note_failure(user_id, failures, origin.clone()).await?;
        Err(refusal)
    }

    /// Counts a wrong password. A caller who hangs up on a bad answer does not stop it, or guessing would cost nothing.
    async fn note_failure(
        &self,
        user_id: Option<UserId>,
        failures: [u8; 32],
        origin: Origin,
    ) -> Result<(), Failure> {
        let (sessions, at) = (self.sessions.clone(), self.clock.now());
        let noting = async move { sessions.note_failure(user_id, failures, origin, at).await };
        match self.tasks.spawn(noting).await.map_err(Failure::internal)? {
            Err(error) if !is_gone(&error) => Err(error.into()),
            // Without an account there is nothing to guess at any more.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// What is stored of a refresh token that is about to be made.
    pub(in crate::rpc) fn kept(&self, token: &RefreshToken) -> NewRefreshToken {
        NewRefreshToken {
            id: self.entropy.uuid_v7(&self.clock),
            hash: token.hash(&self.refresh),
        }
    }
}

/// Whether the account that something was to be written for is gone.
fn is_gone(error: &DbError) -> bool {
    matches!(
        error.constraint(),
        Some("audit_chains_user_id_fkey" | "security_audit_log_user_id_fkey")
    )
}
