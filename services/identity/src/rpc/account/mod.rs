//! `haven.identity.v1.AccountService`: which method does what is in the files beside this one.

mod change_password;
mod check_password;
mod delete_account;
pub(in crate::rpc) mod get_account;
pub(in crate::rpc) mod goals;
mod grant_consent;
mod list_accounts;
mod list_audit_events;
mod reauthentication;
pub(in crate::rpc) mod sign_up;
pub(in crate::rpc) mod update_account;

use haven_platform::call::Call;
use haven_proto::identity::v1::{
    ChangePasswordRequest, ChangePasswordResponse, CheckPasswordRequest, CheckPasswordResponse,
    DeleteAccountRequest, DeleteAccountResponse, GetAccountRequest, GetAccountResponse, GetDeletionRequest,
    GetDeletionResponse, GetPasswordPolicyRequest, GetPasswordPolicyResponse, GrantConsentRequest,
    GrantConsentResponse, ListAccountsRequest, ListAccountsResponse, ListAuditEventsRequest,
    ListAuditEventsResponse, ListConsentsRequest, ListConsentsResponse, SignUpRequest, SignUpResponse,
    UpdateAccountRequest, UpdateAccountResponse, WithdrawConsentRequest, WithdrawConsentResponse,
    account_service_server::AccountService,
};
use tonic::{Request, Response, Status};

use crate::rpc::IdentityRpc;

#[tonic::async_trait]
impl AccountService for IdentityRpc {
    async fn sign_up(&self, request: Request<SignUpRequest>) -> Result<Response<SignUpResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.sign_up_of(&call, request.into_inner()).await?))
    }

    async fn get_password_policy(
        &self,
        request: Request<GetPasswordPolicyRequest>,
    ) -> Result<Response<GetPasswordPolicyResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.get_password_policy_of(&call, request.into_inner()).await?,
        ))
    }

    async fn check_password(
        &self,
        request: Request<CheckPasswordRequest>,
    ) -> Result<Response<CheckPasswordResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.check_password_of(&call, request.into_inner()).await?,
        ))
    }

    async fn get_account(
        &self,
        request: Request<GetAccountRequest>,
    ) -> Result<Response<GetAccountResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.get_account_of(&call, request.into_inner()).await?,
        ))
    }

    async fn update_account(
        &self,
        request: Request<UpdateAccountRequest>,
    ) -> Result<Response<UpdateAccountResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.update_account_of(&call, request.into_inner()).await?,
        ))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.change_password_of(&call, request.into_inner()).await?,
        ))
    }

    async fn delete_account(
        &self,
        request: Request<DeleteAccountRequest>,
    ) -> Result<Response<DeleteAccountResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.delete_account_of(&call, request.into_inner()).await?,
        ))
    }

    async fn get_deletion(
        &self,
        request: Request<GetDeletionRequest>,
    ) -> Result<Response<GetDeletionResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.get_deletion_of(&call, request.into_inner()).await?,
        ))
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.list_accounts_of(&call, request.into_inner()).await?,
        ))
    }

    async fn list_consents(
        &self,
        request: Request<ListConsentsRequest>,
    ) -> Result<Response<ListConsentsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.list_consents_of(&call, request.into_inner()).await?,
        ))
    }

    async fn grant_consent(
        &self,
        request: Request<GrantConsentRequest>,
    ) -> Result<Response<GrantConsentResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.grant_consent_of(&call, request.into_inner()).await?,
        ))
    }

    async fn withdraw_consent(
        &self,
        request: Request<WithdrawConsentRequest>,
    ) -> Result<Response<WithdrawConsentResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.withdraw_consent_of(&call, request.into_inner()).await?,
        ))
    }

    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<Response<ListAuditEventsResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.list_audit_events_of(&call, request.into_inner()).await?,
        ))
    }
}
