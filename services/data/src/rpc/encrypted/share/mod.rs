//! `haven.data.v1.ShareService`: what people share.

mod create_share;
mod list_share_access;
pub(in crate::rpc) mod message;
mod open_share;

use haven_platform::call::Call;
use haven_proto::data::v1::{
    CreateShareRequest, CreateShareResponse, ListShareAccessRequest, ListShareAccessResponse,
    ListSharesRequest, ListSharesResponse, OpenShareRequest, OpenShareResponse, RevokeShareRequest,
    RevokeShareResponse, share_service_server::ShareService,
};
use tonic::{Request, Response, Status};

use self::message as share_message;
use super::{EncryptedRpc, cycle::record as message_of_content, envelope, local_time};

#[tonic::async_trait]
impl ShareService for EncryptedRpc {
    async fn create_share(
        &self,
        request: Request<CreateShareRequest>,
    ) -> Result<Response<CreateShareResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.create_share_of(&call, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn list_shares(
        &self,
        request: Request<ListSharesRequest>,
    ) -> Result<Response<ListSharesResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.list_shares_of(&call, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn revoke_share(
        &self,
        request: Request<RevokeShareRequest>,
    ) -> Result<Response<RevokeShareResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.revoke_share_of(&call, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn list_share_access(
        &self,
        request: Request<ListShareAccessRequest>,
    ) -> Result<Response<ListShareAccessResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.list_share_access_of(&call, request.into_inner()).await?;
        Ok(Response::new(answer))
    }

    async fn open_share(
        &self,
        request: Request<OpenShareRequest>,
    ) -> Result<Response<OpenShareResponse>, Status> {
        let call = Call::of(&request)?;
        let answer = self.open_share_of(&call, request.into_inner()).await?;
        Ok(Response::new(answer))
    }
}
