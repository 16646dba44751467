//! SessionService: signing in and out, refreshing, listing and ending sessions, and the keys that sign access tokens.

mod clocks;
mod ended_sessions;
mod external_provider;
mod guesses_of_others;
mod list_ended_sessions;
mod list_sessions;
mod refresh_session;
mod refresh_states;
mod refresh_token_reuse;
mod revoke_session;
mod sign_in;
mod sign_in_retries;
mod sign_in_timing;
mod sign_out;
mod signing_key_rotation;
mod transactions;
mod wrong_passwords;

use haven_proto::{
    data::v1::ListMessagesRequest,
    identity::v1::{
        ListSessionsRequest, RefreshSessionRequest, RefreshSessionResponse, RevokeSessionRequest, Session,
        SignInRequest, SignInResponse,
    },
};
use haven_testkit::{Client, Person, Stack, random};
use tonic::Status;
use uuid::Uuid;

use crate::{retry::retry_call, status::reason, superuser_sql::scalar_with};

/// Returns a SignIn request under a new request id.
fn credentials(email: &str, password: &str) -> SignInRequest {
    SignInRequest {
        email: email.to_owned(),
        password: password.to_owned(),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    }
}

/// Calls SignIn once, without retries.
async fn sign_in(client: &Client, request: SignInRequest) -> Result<SignInResponse, Status> {
    Ok(client.session().sign_in(request).await?.into_inner())
}

/// Signs in with a wrong password, and returns the status.
async fn guess(client: &Client, email: &str) -> Status {
    let request = credentials(email, "Another-Horse-8-Battery");
    sign_in(client, request).await.unwrap_err()
}

/// Calls RefreshSession, and retries the call when the answer allows a retry.
async fn refresh(client: &Client, token: &str) -> Result<RefreshSessionResponse, Status> {
    let request = RefreshSessionRequest {
        refresh_token: token.to_owned(),
    };
    let mut sessions = client.session();
    retry_call(request, async |request| sessions.refresh_session(request).await).await
}

/// Calls RevokeSession, and retries the call when the answer allows a retry.
async fn revoke(client: &Client, session_id: &str) -> Result<(), Status> {
    let request = RevokeSessionRequest {
        session_id: session_id.to_owned(),
    };
    let mut sessions = client.session();
    let answer = retry_call(request, async |request| sessions.revoke_session(request).await);
    answer.await.map(drop)
}

/// Calls ListSessions with an access token.
async fn sessions(stack: &Stack, token: &str) -> Result<Vec<Session>, Status> {
    let client = stack.anonymous().unwrap().with_token(token).unwrap();
    let list = ListSessionsRequest::default();
    Ok(client.session().list_sessions(list).await?.into_inner().sessions)
}

/// Calls an RPC of data with an access token.
async fn read(stack: &Stack, token: &str) -> Result<(), Status> {
    let client = stack.anonymous().unwrap().with_token(token).unwrap();
    let list = ListMessagesRequest::default();
    client.conversation().list_messages(list).await.map(drop)
}

/// Signs the person in again.
async fn another(stack: &Stack, person: &Person) -> Person {
    let anonymous = stack.anonymous().unwrap();
    anonymous.sign_in(&person.email, &person.password).await.unwrap()
}

/// Returns the person's audit log without the sign-up: each event with the number of its session, from `1` for the person's
/// first session on.
async fn audit_log(stack: &Stack, person: Uuid) -> String {
    scalar_with(
        &stack.database,
        "SELECT coalesce(string_agg(concat_ws(' ', event, CASE WHEN refused THEN 'refused' END, place), ', '
            ORDER BY number), '')
        FROM identity.security_audit_log
            LEFT JOIN (
                SELECT id, row_number() OVER (ORDER BY id) AS place FROM identity.sessions WHERE user_id = $1
            ) AS session ON session_id = id
        WHERE user_id = $1 AND event <> 'sign_up'",
        person,
    )
    .await
}

/// Returns the reason of a call that has to fail.
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    reason(&answer.unwrap_err())
}
