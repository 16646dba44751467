//! AccountService: sign-up and its rate limits, reading, updating, listing and deleting accounts, passwords, consents and the
//! security audit log.

mod audit;
mod change_password;
mod consents;
pub(crate) mod deletion;
mod expired_rows;
pub(crate) mod export_account;
pub(crate) mod external_provider;
mod get_account;
mod import_accounts;
mod list_accounts;
mod password_policy;
mod rate_limits_across_replicas;
mod retries_at_limits;
mod sign_up;
mod sign_up_limits;
mod sign_up_retries;
mod update_account_by_person;
mod update_account_by_service;

use haven_proto::identity::v1::{Account, GetAccountRequest, UpdateAccountRequest};
use haven_testkit::{Client, random};
use prost_types::FieldMask;
use tonic::{Request, Status};

use crate::retry::retry_call;

/// Password that meets the policy.
const PASSWORD: &str = "Correct-Horse-7-Battery";

/// Calls GetAccount. An empty `user_id` means the caller's own account.
async fn get(client: &Client, user_id: &str) -> Result<Account, Status> {
    let request = GetAccountRequest {
        user_id: user_id.to_owned(),
    };
    let mut accounts = client.account();
    let answer = retry_call(request, async |request| accounts.get_account(request).await);
    Ok(answer.await?.account.unwrap())
}

/// Returns an update of the fields in `paths`, under a new request id.
fn update_of(account: Account, paths: &[&str], expected_version: i64) -> UpdateAccountRequest {
    UpdateAccountRequest {
        account: Some(account),
        update_mask: Some(FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        }),
        expected_version,
        request_id: random::uuid().to_string(),
    }
}

/// Calls UpdateAccount with retries.
async fn update(client: &Client, request: UpdateAccountRequest) -> Result<Account, Status> {
    let mut accounts = client.account();
    let answer = retry_call(request, async |request| accounts.update_account(request).await);
    Ok(answer.await?.account.unwrap())
}

/// Returns a request with `address` as `x-forwarded-for`.
fn forwarded_for<T>(address: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let address = address.parse().unwrap();
    request.metadata_mut().insert("x-forwarded-for", address);
    request
}
