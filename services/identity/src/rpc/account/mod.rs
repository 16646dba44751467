//! `haven.identity.v1.AccountService`.

mod account_access;
mod account_message;
mod change_password;
mod check_password;
mod consent;
mod delete_account;
mod deletion;
mod export_account;
mod external_account;
mod get_account;
mod get_consent_requirements;
mod get_deletion;
mod get_password_policy;
mod get_usage;
mod goals;
mod grant_consent;
mod import_accounts;
mod list_accounts;
mod list_audit_events;
mod list_consents;
mod password_rule;
mod reauthentication;
mod sign_up;
mod update_account;
mod withdraw_consent;

use std::sync::Arc;

use haven_platform::{
    auth::EndedSessions, entropy::Entropy, grpc_service, mac::MacKeys, page::PageTokens,
    rate_limit::RateLimit, time::Clock,
};
use haven_proto::identity::v1::{
    ChangePasswordRequest, ChangePasswordResponse, CheckPasswordRequest, CheckPasswordResponse,
    DeleteAccountRequest, DeleteAccountResponse, ExportAccountRequest, ExportAccountResponse,
    GetAccountRequest, GetAccountResponse, GetConsentRequirementsRequest, GetConsentRequirementsResponse,
    GetDeletionRequest, GetDeletionResponse, GetPasswordPolicyRequest, GetPasswordPolicyResponse,
    GetUsageRequest, GetUsageResponse, GrantConsentRequest, GrantConsentResponse, ImportAccountsRequest,
    ImportAccountsResponse, ListAccountsRequest, ListAccountsResponse, ListAuditEventsRequest,
    ListAuditEventsResponse, ListConsentsRequest, ListConsentsResponse, SignUpRequest, SignUpResponse,
    UpdateAccountRequest, UpdateAccountResponse, WithdrawConsentRequest, WithdrawConsentResponse,
    account_service_server::AccountService,
};

use super::{audit_origin::AuditOrigins, rate_limit_keys::RateLimitKeys};
use crate::{
    dispatcher::Dispatcher,
    domain::{
        consent::RequiredConsents, consent_versions::ConsentVersions, provider::AuthProvider, quota::Quotas,
        rate_limit::RateLimits,
    },
    estimator::EstimatorQueue,
    hashing::Passwords,
    store::{
        account::{Accounts, Consents, Erasures, Exports, OwnPasswords},
        audit_log::AuditLog,
    },
};

/// The state of `AccountService`.
#[derive(Debug)]
pub struct AccountRpc {
    /// The accounts of all people.
    pub accounts: Accounts,
    /// The passwords of signed-in people.
    pub own_passwords: OwnPasswords,
    /// The records of erased accounts.
    pub erasures: Erasures,
    /// The ledgers of consents.
    pub consents: Consents,
    /// The rows of a person, for an export.
    pub exports: Exports,
    /// The security audit logs.
    pub audit_log: AuditLog,
    /// Delivers messages about new and erased accounts to data.
    pub dispatcher: Dispatcher,
    /// Hashes and checks passwords.
    pub passwords: Passwords,
    /// The provider that signs people up.
    pub provider: AuthProvider,
    /// Estimates how guessable passwords are.
    pub estimator: EstimatorQueue,
    /// The rate limits of SignUp.
    pub sign_up_limits: RateLimits,
    /// The rate limits of CheckPassword.
    pub check_password_limits: RateLimits,
    /// The rate limits of a person's changes.
    pub mutation_limits: RateLimits,
    /// How much a person may have.
    pub quotas: Quotas,
    /// The rate limit of the passwords that a signed-in person sends, per session: that of sign-ins per address.
    pub reauthentication_limit: Option<RateLimit>,
    /// Derives the keys under which limits are counted.
    pub rate_limit_keys: RateLimitKeys,
    /// The consents that SignUp requires.
    pub required_consents: RequiredConsents,
    /// The versions of documents that people can consent to.
    pub consent_versions: ConsentVersions,
    /// The ended sessions. Calls with their access tokens are refused.
    pub ended_sessions: Arc<EndedSessions>,
    /// The key of the hashes by which retries are recognized.
    pub request_mac: MacKeys,
    /// Derives the origins that the audit log stores.
    pub audit_origins: AuditOrigins,
    /// Seals and opens page tokens.
    pub page_tokens: PageTokens,
    /// The clock of all times that are stored.
    pub clock: Clock,
    /// The random source of ids.
    pub entropy: Entropy,
}

grpc_service! {
    impl AccountService for AccountRpc {
        rpc sign_up(SignUpRequest) -> SignUpResponse;
        rpc get_password_policy(GetPasswordPolicyRequest) -> GetPasswordPolicyResponse;
        rpc check_password(CheckPasswordRequest) -> CheckPasswordResponse;
        rpc get_account(GetAccountRequest) -> GetAccountResponse;
        rpc update_account(UpdateAccountRequest) -> UpdateAccountResponse;
        rpc change_password(ChangePasswordRequest) -> ChangePasswordResponse;
        rpc delete_account(DeleteAccountRequest) -> DeleteAccountResponse;
        rpc get_deletion(GetDeletionRequest) -> GetDeletionResponse;
        rpc list_accounts(ListAccountsRequest) -> ListAccountsResponse;
        rpc get_consent_requirements(GetConsentRequirementsRequest) -> GetConsentRequirementsResponse;
        rpc list_consents(ListConsentsRequest) -> ListConsentsResponse;
        rpc grant_consent(GrantConsentRequest) -> GrantConsentResponse;
        rpc withdraw_consent(WithdrawConsentRequest) -> WithdrawConsentResponse;
        rpc get_usage(GetUsageRequest) -> GetUsageResponse;
        rpc list_audit_events(ListAuditEventsRequest) -> ListAuditEventsResponse;
        upload import_accounts(ImportAccountsRequest) -> ImportAccountsResponse;
        stream export_account(ExportAccountRequest) -> ExportAccountStream of ExportAccountResponse;
    }
}
