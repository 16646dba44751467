//! SignIn: begins a session.

mod parse;

use haven_platform::{
    call::{Call, UserId},
    database::DbError,
    failure::Failure,
    handler::Handler,
    mac::StoredMac,
    reason::Reason,
    request_key::RequestKey,
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
        device_token::{DEVICE_TOKEN_LIFETIME, DeviceToken, KeptDevice},
        email::EmailAddress,
        password::Password,
        provider::AuthProvider,
        rate_limit::{FailureKeys, LimitKind},
        refresh_token::RefreshToken,
        session::{NewSession, Session},
    },
    hashing::{Checked, HashingError},
    rpc::consent_grant::grant_message,
    store::session::{Attempt, BeginError, BegunSession, SignInLimits},
};

/// The account that the caller proved to own with its password.
struct Authenticated {
    user_id: UserId,
    password_version: i64,
    /// The password's hash with current parameters, when the stored hash is outdated.
    upgraded: Option<PasswordHash>,
    /// The stored hash of the device token that was sent, when it is one of the account.
    device_hash: Option<Vec<u8>>,
    /// The keys under which the caller's wrong passwords are counted.
    failures: FailureKeys,
}

impl Handler<SignInRequest> for SessionRpc {
    type Answer = SignInResponse;

    async fn handle(&self, call: &Call, request: SignInRequest) -> Result<SignInResponse, Failure> {
        if self.provider == AuthProvider::External {
            return Err(Failure::new(Reason::AuthProviderExternal));
        }
        let sign_in = SignIn::parse(request, &self.request_mac)?;
        let (begun, device) = self.begin(call, sign_in).await?;
        let session = begun.session;
        let token = self
            .signer
            .sign(&session, &begun.missing_consents)
            .map_err(Failure::internal)?;
        // A retry is answered with the same refresh token even when the token was used in the meantime. RefreshSession
        // then treats it as any used token.
        let refresh_token =
            RefreshToken::first(self.refresh_keys.get(begun.key), session.user_id, session.id);
        Ok(SignInResponse {
            access_token: token.expose_secret().to_owned(),
            access_token_expire_time: Some(timestamp(session.expires_at)),
            user_id: session.user_id.to_string(),
            session_id: session.id.to_string(),
            refresh_token: refresh_token.text().expose_secret().to_owned(),
            refresh_token_expire_time: Some(timestamp(session.refresh_expires_at)),
            device_token: device.text().expose_secret().to_owned(),
            missing_consents: begun.missing_consents.iter().map(grant_message).collect(),
        })
    }
}

impl SessionRpc {
    /// Uses two calls of the database, and hashes between them, so that no connection is held while the call waits for a core.
    /// Also returns the device's token.
    async fn begin(&self, call: &Call, mut sign_in: SignIn) -> Result<(BegunSession, DeviceToken), Failure> {
        let origin = self.audit_origins.of(call);
        let (request, sent) = (sign_in.request, sign_in.device.take());
        let authenticated = self
            .authenticate(
                call,
                &request,
                sign_in.email,
                sign_in.password,
                sent.as_ref(),
                &origin,
            )
            .await?;
        let at = self.clock.now();
        let session = Session::begin(self.entropy.uuid_v7(&self.clock), authenticated.user_id, at);
        let key = self.refresh_keys.first_id();
        let token = RefreshToken::first(self.refresh_keys.get(key), session.user_id, session.id);
        let kept = sent.filter(|_| authenticated.device_hash.is_some());
        let device_key = self.device_keys.get(key);
        let device_hash = match &kept {
            Some(device) => device.hash(device_key),
            None => DeviceToken::first(device_key, session.user_id, session.id).hash(device_key),
        };
        let new = NewSession {
            session,
            token: self.new_refresh_token(&token, key),
            request: &request,
            password_version: authenticated.password_version,
            upgraded: authenticated.upgraded,
            failures: authenticated.failures,
            device: KeptDevice {
                id: self.entropy.uuid_v7(&self.clock),
                found: authenticated.device_hash,
                hash: StoredMac::new(device_hash, key),
                expires_at: at + DEVICE_TOKEN_LIFETIME,
                maximum: self.quotas.devices,
            },
            requires_verified: self.requires_verified_email,
            max_sessions: self.quotas.sessions,
            required_consents: &self.required_consents,
            origin: &origin,
            at,
        };
        let begun = self
            .sessions
            .begin(new, call.deadline)
            .await
            .map_err(|error| match error {
                BeginError::PasswordChanged => Failure::new(Reason::CredentialsInvalid),
                // The password was right, so the caller may know the account.
                BeginError::EmailNotVerified => Failure::new(Reason::EmailNotVerified)
                    .metadata("user_id", authenticated.user_id.to_string()),
                BeginError::RequestIdReused => Failure::new(Reason::RequestIdReused),
                BeginError::Database(error) => error.into(),
            })?;
        for session in &begun.ended {
            self.ended_sessions.add(authenticated.user_id, *session);
        }
        // A retry of a request that kept its token brings the same token: its content is compared.
        let device = match kept {
            Some(device) if begun.keeps_device => device,
            _ => {
                let key = self.device_keys.get(begun.key);
                DeviceToken::first(key, begun.session.user_id, begun.session.id)
            }
        };
        Ok((begun, device))
    }

    /// Checks the password. Without an account the same work is done, so that the response time does not reveal which
    /// addresses have accounts. Only an imported hash takes a time of its own, until its person signs in.
    ///
    /// A device token of another account, an expired one and none at all are the same here.
    async fn authenticate(
        &self,
        call: &Call,
        request: &RequestKey,
        email: EmailAddress,
        password: Password,
        device: Option<&DeviceToken>,
        origin: &Origin,
    ) -> Result<Authenticated, Failure> {
        let hashes: Vec<Vec<u8>> = match device {
            Some(device) => {
                let keys = self.device_keys.iter();
                keys.map(|(id, key)| StoredMac::new(device.hash(key), id).as_bytes().to_vec())
                    .collect()
            }
            None => Vec::new(),
        };
        let keys = &self.rate_limit_keys;
        let own = |device| {
            let cap = self.wrong_password_limits.get(LimitKind::Account);
            keys.sign_in(&self.sign_in_limits, cap, call, &email, device)
        };
        let limits = SignInLimits {
            quotas: keys.quotas("SignIn", &self.sign_in_limits, call, None),
            retries: keys.retry_quota("SignIn", email.canonical().as_bytes(), request.id),
            of_device: match device {
                Some(device) => own(Some(device)),
                None => (Vec::new(), FailureKeys::new(std::iter::empty())),
            },
            of_address: own(None),
        };
        let attempt = Attempt {
            email_canonical: email.canonical(),
            devices: &hashes,
            request,
            at: self.clock.now(),
        };
        let found = self
            .sessions
            .find_credential(&attempt, limits, call.deadline)
            .await?;
        let (device_hash, failures) = (found.device_hash, found.failures);
        let (account, stored) = match found.credential {
            Some(credential) => (
                Some((credential.user_id, credential.password_version)),
                credential.password_hash,
            ),
            None => (None, None),
        };
        let checked = self.passwords.verify_and_upgrade(password, stored, call.deadline);
        let refusal = match (checked.await, account) {
            (Ok(Checked::Right { upgraded }), Some((user_id, password_version))) => {
                return Ok(Authenticated {
                    user_id,
                    password_version,
                    upgraded,
                    device_hash,
                    failures,
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
        self.count_failure(user_id, failures, origin.clone()).await?;
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
