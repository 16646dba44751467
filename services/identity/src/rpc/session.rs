//! `haven.identity.v1.SessionService`: sessions, and the keys that their tokens are signed with.

use std::sync::Arc;

use haven_platform::{
    call::{Call, UserId},
    deadline::Deadline,
    entropy::Entropy,
    failure::Failure,
    mac::MacKey,
    reason::Reason,
    time::{Clock, timestamp},
};
use haven_proto::identity::v1::{
    GetSigningKeysRequest, GetSigningKeysResponse, SignInRequest, SignInResponse, SigningKey,
    session_service_server::SessionService,
};
use secrecy::ExposeSecret;
use tonic::{Request, Response, Status};

use super::sign_in::SignIn;
use crate::{
    domain::{password::Password, session::Session},
    hashing::{Admission, Hasher, Verdict},
    store::{
        account::{Accounts, Credential},
        session::{BeginError, Sessions},
    },
    tokens::{KEYS_MAX_AGE, TokenSigner},
};

/// The service, as the server runs it.
#[derive(Debug)]
pub struct SessionRpc {
    /// The accounts.
    pub accounts: Accounts,
    /// Their sessions.
    pub sessions: Sessions,
    /// Who may hash.
    pub admission: Admission,
    /// Hashes.
    pub hasher: Arc<Hasher>,
    /// Signs access tokens.
    pub signer: Arc<TokenSigner>,
    /// For the keyed hashes of requests.
    pub requests: MacKey,
    /// The time of day.
    pub clock: Clock,
    /// For ids.
    pub entropy: Entropy,
}

#[tonic::async_trait]
impl SessionService for SessionRpc {
    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        let call = Call::of(&request)?;
        let sign_in = SignIn::parse(request.into_inner(), &self.requests)?;
        let session = self.begin(sign_in, call.deadline).await?;
        let token = self.signer.sign(&session).map_err(Failure::internal)?;
        Ok(Response::new(SignInResponse {
            access_token: token.expose_secret().to_owned(),
            access_token_expire_time: Some(timestamp(session.expires_at)),
            user_id: session.user_id.to_string(),
            session_id: session.id.to_string(),
        }))
    }

    async fn get_signing_keys(
        &self,
        _request: Request<GetSigningKeysRequest>,
    ) -> Result<Response<GetSigningKeysResponse>, Status> {
        let keys = self.signer.public_keys().map(|key| SigningKey {
            key_id: key.id.clone(),
            algorithm: "ES256".to_owned(),
            x: key.x.clone(),
            y: key.y.clone(),
        });
        Ok(Response::new(GetSigningKeysResponse {
            keys: keys.collect(),
            issuer: self.signer.issuer().to_owned(),
            max_age: prost_types::Duration::try_from(KEYS_MAX_AGE).ok(),
        }))
    }
}

impl SessionRpc {
    /// Two transactions, and the hash in neither: a connection is not held while somebody waits for a core.
    async fn begin(&self, sign_in: SignIn, deadline: Deadline) -> Result<Session, Failure> {
        let credential = self
            .accounts
            .find_credential(sign_in.email.canonical(), deadline)
            .await?;
        let user_id = self.verify(sign_in.password, credential, deadline).await?;
        let now = self.clock.now();
        let session = Session::begin(self.entropy.uuid_v7(&self.clock), user_id, now);
        let begun = self
            .sessions
            .begin(session, &sign_in.request, now, deadline)
            .await;
        begun.map_err(|error| match error {
            BeginError::RequestIdReused => Failure::new(Reason::RequestIdReused),
            BeginError::Database(error) => error.into(),
        })
    }

    /// Whose password it is. Without an account the same work is done, so that the time tells nobody who has one.
    async fn verify(
        &self,
        password: Password,
        credential: Option<Credential>,
        deadline: Deadline,
    ) -> Result<UserId, Failure> {
        let (user_id, stored) = match credential {
            Some(credential) => (Some(credential.user_id), Some(credential.password_hash)),
            None => (None, None),
        };
        let hasher = Arc::clone(&self.hasher);
        let slot = self.admission.admit(deadline).await?;
        let verdict = slot.run(move |memory| hasher.verify(&password, stored.as_ref(), memory));
        let refused = || Failure::new(Reason::CredentialsInvalid);
        match verdict
            .await
            .map_err(Failure::internal)?
            .map_err(|unusable| refused().because(unusable))?
        {
            Verdict::Wrong => Err(refused()),
            Verdict::Right => user_id.ok_or_else(refused),
            Verdict::RightButOutdated => {
                metrics::counter!("haven_hash_outdated_total").increment(1);
                user_id.ok_or_else(refused)
            }
        }
    }
}
