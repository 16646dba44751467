//! Sessions: beginning, refreshing, listing and ending them, and the keys that sign their tokens.

mod ended_sessions;
mod external_provider;
mod list_sessions;
mod refresh_session;
mod refresh_token_reuse;
mod revoke_session;
mod sign_in_timing;
mod signing_key_rotation;
mod transactions;
mod wrong_passwords;

use haven_proto::{
    data::v1::ListMessagesRequest,
    identity::v1::{
        ListSessionsRequest, RefreshSessionRequest, RefreshSessionResponse, Session, SignInRequest,
        SignInResponse,
    },
};
use haven_testkit::{Client, Person, Stack, random};
use tonic::Status;

use crate::{retry::retry_call, status::reason, superuser_sql::scalar};

fn credentials(email: &str, password: &str) -> SignInRequest {
    SignInRequest {
        email: email.to_owned(),
        password: password.to_owned(),
        request_id: random::uuid().to_string(),
    }
}

async fn sign_in(client: &Client, request: SignInRequest) -> Result<SignInResponse, Status> {
    Ok(client.session().sign_in(request).await?.into_inner())
}

/// A try with a wrong password: what it is answered.
async fn guess(client: &Client, email: &str) -> Status {
    let request = credentials(email, "Another-Horse-8-Battery");
    sign_in(client, request).await.unwrap_err()
}

async fn refresh(client: &Client, token: &str) -> Result<RefreshSessionResponse, Status> {
    let request = RefreshSessionRequest {
        refresh_token: token.to_owned(),
    };
    let mut sessions = client.session();
    retry_call(request, async |request| sessions.refresh_session(request).await).await
}

/// A page of the sessions of whoever has `token`.
async fn sessions(stack: &Stack, token: &str) -> Result<Vec<Session>, Status> {
    let client = stack.anonymous().unwrap().with_token(token).unwrap();
    let list = ListSessionsRequest::default();
    Ok(client.session().list_sessions(list).await?.into_inner().sessions)
}

/// What data says to `token`.
async fn read(stack: &Stack, token: &str) -> Result<(), Status> {
    let client = stack.anonymous().unwrap().with_token(token).unwrap();
    let list = ListMessagesRequest::default();
    client.conversation().list_messages(list).await.map(drop)
}

/// Another session of the same person.
async fn another(stack: &Stack, person: &Person) -> Person {
    let nobody = stack.anonymous().unwrap();
    nobody.sign_in(&person.email, &person.password).await.unwrap()
}

/// The audit log without sign-ups, each event with its session: `1` for the first one that there was, and so on.
async fn audit_log(stack: &Stack) -> String {
    scalar(
        &stack.database,
        "SELECT coalesce(string_agg(concat_ws(' ', event, CASE WHEN refused THEN 'refused' END, place), ', '
            ORDER BY user_id, number), '')
        FROM identity.security_audit_log
            LEFT JOIN (SELECT id, row_number() OVER (ORDER BY id) AS place FROM identity.sessions) AS session
                ON session_id = id
        WHERE event <> 'sign_up'",
    )
    .await
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    reason(&answer.unwrap_err())
}
