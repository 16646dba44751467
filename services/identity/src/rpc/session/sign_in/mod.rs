//! SignIn: begins a session.

mod parse;

use haven_platform::{
    call::{Call, UserId},
    database::DbError,
    failure::Failure,
    handler::Handler,
    mac::KeyId,
    reason::Reason,
    time::timestamp,
};
use haven_proto::identity::v1::{SignInRequest, SignInResponse};
use secrecy::ExposeSecret;

use self::parse::SignIn;
use super::SessionRpc;
use crate::{
    domain::{
        account::PasswordHash,
        audit::Origin,
        provider::AuthProvider,
        rate_limit::FailureKeys,
        refresh_token::RefreshToken,
        session::{NewSession, Session},
    },
    hashing::{Checked, HashingError},
    store::session::BeginError,
};

/// The account that the caller proved to own with its password.
struct Authenticated {
    user_id: UserId,
    password_version: i64,
    /// The password's hash with current parameters, when the stored hash is outdated.
    upgraded: Option<PasswordHash>,
}

impl Handler<SignInRequest> for SessionRpc {
    type Answer = SignInResponse;

    async fn handle(&self, call: &Call, request: SignInRequest) -> Result<SignInResponse, Failure> {
        if self.provider == AuthProvider::External {
            return Err(Failure::new(Reason::AuthProviderExternal));
        }
        let sign_in = SignIn::parse(request, &self.request_mac)?;
        let (session, key) = self.begin(call, sign_in).await?;
        let token = self.signer.sign(&session).map_err(Failure::internal)?;
        // A retry is answered with the same refresh token even when the token was used in the meantime. RefreshSession
        // then treats it as any used token.
        let refresh_token = RefreshToken::first(self.refresh_keys.get(key), session.user_id, session.id);
        Ok(SignInResponse {
            access_token: token.expose_secret().to_owned(),
            access_token_expire_time: Some(timestamp(session.expires_at)),
            user_id: session.user_id.to_string(),
            session_id: session.id.to_string(),
            refresh_token: refresh_token.text().expose_secret().to_owned(),
            refresh_token_expire_time: Some(timestamp(session.refresh_expires_at)),
        })
    }
}

impl SessionRpc {
    /// Uses two transactions, and hashes between them, so that no connection is held while the call waits for a core.
    /// Also returns the id of the key that the session's first refresh token is derived from.
    async fn begin(&self, call: &Call, sign_in: SignIn) -> Result<(Session, KeyId), Failure> {
        let failures = self.rate_limit_keys.failures(sign_in.email.canonical());
        let origin = self.audit_origins.of(call);
        let request = sign_in.request;
        let authenticated = self.authenticate(call, sign_in, &failures, &origin).await?;
        let at = self.clock.now();
        let session = Session::begin(self.entropy.uuid_v7(&self.clock), authenticated.user_id, at);
        let key = self.refresh_keys.first_id();
        let token = RefreshToken::first(self.refresh_keys.get(key), session.user_id, session.id);
        let new = NewSession {
            session,
            token: self.new_refresh_token(&token, key),
            request: &request,
            password_version: authenticated.password_version,
            upgraded: authenticated.upgraded,
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

    /// Checks the password. Without an account the same work is done, so that the response time does not reveal which
    /// addresses have accounts. Only an imported hash takes a time of its own, until its person signs in.
    async fn authenticate(
        &self,
        call: &Call,
        sign_in: SignIn,
        failures: &FailureKeys,
        origin: &Origin,
    ) -> Result<Authenticated, Failure> {
        let quotas = self
            .rate_limit_keys
            .quotas("SignIn", &self.sign_in_limits, call, Some(&sign_in.email));
        let credential = self
            .sessions
            .find_credential(sign_in.email.canonical(), &quotas, failures, call.deadline)
            .await?;
        let (account, stored) = match credential {
            Some(credential) => (
                Some((credential.user_id, credential.password_version)),
                credential.password_hash,
            ),
            None => (None, None),
        };
        let checked = self
            .passwords
            .verify_and_upgrade(sign_in.password, stored, call.deadline);
        let refusal = match (checked.await, account) {
            (Ok(Checked::Right { upgraded }), Some((user_id, password_version))) => {
                return Ok(Authenticated {
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
        self.count_failure(user_id, failures.clone(), origin.clone())
            .await?;
        Err(refusal)
    }

    /// Counts a wrong password, in a task of its own: a caller that disconnects does not stop it, or else guessing
    /// would cost nothing.
    async fn count_failure(
        &self,
        user_id: Option<UserId>,
        failures: FailureKeys,
        origin: Origin,
    ) -> Result<(), Failure> {
        let (sessions, at) = (self.sessions.clone(), self.clock.now());
        let counting = async move { sessions.count_failure(user_id, &failures, origin, at).await };
        match self.tasks.spawn(counting).await.map_err(Failure::internal)? {
            Err(error) if !is_account_gone(&error) => Err(error.into()),
            // An account that was deleted in the meantime has no password to guess.
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Returns whether `error` means that the account of an audit event was deleted.
fn is_account_gone(error: &DbError) -> bool {
    matches!(
        error.constraint(),
        Some("audit_chains_user_id_fkey" | "security_audit_log_user_id_fkey")
    )
}
