//! RecoveryService: password resets, verification and change of email addresses.

mod account_changes;
mod change_email;
mod expired_tokens;
mod external_provider;
mod limits;
mod races;
mod reset_password;
mod retries;
mod timing;
mod undo_email_change;
mod verify_email;

use haven_proto::identity::v1::{
    Account, ConfirmEmailChangeRequest, ConfirmEmailChangeResponse, CreateEmailChangeRequest,
    CreateEmailChangeResponse, CreateEmailVerificationRequest, CreateEmailVerificationResponse,
    CreatePasswordResetRequest, CreatePasswordResetResponse, GetAccountRequest, ResetPasswordRequest,
    ResetPasswordResponse, UndoEmailChangeRequest, UndoEmailChangeResponse, VerifyEmailRequest,
    VerifyEmailResponse,
};
use haven_testkit::{Client, Person, Stack, random};
use tonic::Status;
use uuid::Uuid;

use crate::{status::reason, superuser_sql::scalar_with};

/// New password that meets the policy.
const NEW_PASSWORD: &str = "Another-Horse-8-Battery";

/// Returns a new request id.
fn request_id() -> String {
    random::uuid().to_string()
}

/// Returns an address that no account has.
fn new_address() -> String {
    format!("{}@example.org", random::uuid().simple())
}

/// Returns a client of the service that mails tokens.
fn backend(stack: &Stack) -> Client {
    stack.service("backend").unwrap()
}

async fn create_reset(
    client: &Client,
    email: &str,
    request_id: &str,
) -> Result<CreatePasswordResetResponse, Status> {
    let request = CreatePasswordResetRequest {
        email: email.to_owned(),
        request_id: request_id.to_owned(),
    };
    Ok(client
        .recovery()
        .create_password_reset(request)
        .await?
        .into_inner())
}

/// Returns the token of a new password reset.
async fn reset_token(stack: &Stack, email: &str) -> String {
    let created = create_reset(&backend(stack), email, &request_id()).await;
    created.unwrap().token
}

/// Returns a reset to [`NEW_PASSWORD`], under a new request id.
fn reset_with(token: &str) -> ResetPasswordRequest {
    ResetPasswordRequest {
        token: token.to_owned(),
        new_password: NEW_PASSWORD.to_owned(),
        request_id: request_id(),
    }
}

async fn reset(client: &Client, request: &ResetPasswordRequest) -> Result<ResetPasswordResponse, Status> {
    let answer = client.recovery().reset_password(request.clone()).await?;
    Ok(answer.into_inner())
}

async fn create_verification(
    client: &Client,
    person: Uuid,
    request_id: &str,
) -> Result<CreateEmailVerificationResponse, Status> {
    let request = CreateEmailVerificationRequest {
        user_id: person.to_string(),
        request_id: request_id.to_owned(),
    };
    let answer = client.recovery().create_email_verification(request).await?;
    Ok(answer.into_inner())
}

async fn verify(client: &Client, token: &str, request_id: &str) -> Result<VerifyEmailResponse, Status> {
    let request = VerifyEmailRequest {
        token: token.to_owned(),
        request_id: request_id.to_owned(),
    };
    Ok(client.recovery().verify_email(request).await?.into_inner())
}

async fn create_change(
    client: &Client,
    person: Uuid,
    email: &str,
    request_id: &str,
) -> Result<CreateEmailChangeResponse, Status> {
    let request = CreateEmailChangeRequest {
        user_id: person.to_string(),
        email: email.to_owned(),
        request_id: request_id.to_owned(),
    };
    Ok(client.recovery().create_email_change(request).await?.into_inner())
}

/// Returns the tokens of a new change of address.
async fn change_tokens(stack: &Stack, person: &Person, email: &str) -> CreateEmailChangeResponse {
    let created = create_change(&backend(stack), person.id, email, &request_id()).await;
    created.unwrap()
}

async fn confirm(
    client: &Client,
    token: &str,
    request_id: &str,
) -> Result<ConfirmEmailChangeResponse, Status> {
    let request = ConfirmEmailChangeRequest {
        token: token.to_owned(),
        request_id: request_id.to_owned(),
    };
    Ok(client
        .recovery()
        .confirm_email_change(request)
        .await?
        .into_inner())
}

async fn undo(client: &Client, token: &str, request_id: &str) -> Result<UndoEmailChangeResponse, Status> {
    let request = UndoEmailChangeRequest {
        token: token.to_owned(),
        request_id: request_id.to_owned(),
    };
    Ok(client.recovery().undo_email_change(request).await?.into_inner())
}

/// Returns the account as a service sees it.
async fn account(stack: &Stack, person: &Person) -> Account {
    let request = GetAccountRequest {
        user_id: person.id.to_string(),
    };
    let answer = backend(stack).account().get_account(request).await.unwrap();
    answer.into_inner().account.unwrap()
}

/// Returns the reason for which a sign-in fails, or `None` when it succeeds.
async fn sign_in_refused(stack: &Stack, email: &str, password: &str) -> Option<String> {
    let anonymous = stack.anonymous().unwrap();
    let error = anonymous.sign_in(email, password).await.err()?;
    Some(reason(&error.downcast().unwrap()))
}

/// Returns the reason for which identity refuses the person's access token, or `None` when it accepts the token.
async fn token_refused(stack: &Stack, person: &Person) -> Option<String> {
    let client = stack.user(person).unwrap();
    let answer = client.account().get_account(GetAccountRequest::default()).await;
    answer.err().map(|status| reason(&status))
}

/// Returns the reason of a call that has to fail.
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    reason(&answer.unwrap_err())
}

/// Returns the person's events of recovery, the oldest first.
async fn events(stack: &Stack, person: &Person) -> String {
    scalar_with(
        &stack.database,
        "SELECT coalesce(string_agg(event || CASE WHEN refused THEN ' refused' ELSE '' END, ', ' ORDER BY number), '')
        FROM identity.security_audit_log WHERE user_id = $1 AND event ~ '^(email|password_reset)'",
        person.id,
    )
    .await
}

/// Returns the kinds of the person's tokens that are not spent.
async fn live_tokens(stack: &Stack, person: &Person) -> String {
    scalar_with(
        &stack.database,
        "SELECT coalesce(string_agg(kind, ' ' ORDER BY kind, id), '') FROM identity.recovery_tokens
        WHERE user_id = $1 AND spent_at IS NULL",
        person.id,
    )
    .await
}
