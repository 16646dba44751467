//! `haven.identity.v1.SessionService`: which method does what is in the files beside this one.

mod end_session;
mod list_sessions;
mod refresh_session;
mod sign_in;

use haven_platform::call::Call;
use haven_proto::identity::v1::{
    GetSigningKeysRequest, GetSigningKeysResponse, ListEndedSessionsRequest, ListEndedSessionsResponse,
    ListSessionsRequest, ListSessionsResponse, RefreshSessionRequest, RefreshSessionResponse,
    RevokeSessionRequest, RevokeSessionResponse, SignInRequest, SignInResponse, SignOutRequest,
    SignOutResponse, SigningKey, session_service_server::SessionService,
};
use tonic::{Request, Response, Status};

use crate::rpc::IdentityRpc;
use crate::tokens::KEYS_MAX_AGE;

#[tonic::async_trait]
impl SessionService for IdentityRpc {
    async fn sign_in(&self, request: Request<SignInRequest>) -> Result<Response<SignInResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.sign_in_of(&call, request.into_inner()).await?))
    }

    async fn refresh_session(
        &self,
        request: Request<RefreshSessionRequest>,
    ) -> Result<Response<RefreshSessionResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.refresh_session_of(&call, request.into_inner()).await?,
        ))
    }

    async fn sign_out(&self, request: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.sign_out_of(&call, request.into_inner()).await?,
        ))
    }

    async fn list_sessions(
        &self,
        request: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.list_sessions_of(&call, request.into_inner()).await?,
        ))
    }

    async fn revoke_session(
        &self,
        request: Request<RevokeSessionRequest>,
    ) -> Result<Response<RevokeSessionResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.revoke_session_of(&call, request.into_inner()).await?,
        ))
    }

    async fn list_ended_sessions(
        &self,
        request: Request<ListEndedSessionsRequest>,
    ) -> Result<Response<ListEndedSessionsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.list_ended_sessions_of(&call, request.into_inner()).await?,
        ))
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
