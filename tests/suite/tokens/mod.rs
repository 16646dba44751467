//! Access tokens: those of other issuers and their keys, of ended sessions and of erased people.

mod ended_sessions;
mod erased_people;
mod issuers;
mod key_addresses;
mod key_files;
mod libraries;
mod other_issuers;
mod providers;
mod refused_tokens;

use haven_proto::data::v1::{AppendMessageRequest, Message, ProvisionUserRequest, SenderType};
use haven_testkit::{Client, Stack, random};
use tonic::Status;
use uuid::Uuid;

/// Calls AppendMessage with an access token.
pub(crate) async fn append(stack: &Stack, token: &str) -> Result<Message, Status> {
    let client = stack.anonymous().unwrap().with_token(token).unwrap();
    append_as(&client).await
}

/// Calls AppendMessage as `client`.
async fn append_as(client: &Client) -> Result<Message, Status> {
    let request = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "hello".into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    let answer = client.conversation().append_message(request).await?;
    Ok(answer.into_inner().message.unwrap())
}

/// Calls ProvisionUser as identity.
async fn provision(stack: &Stack, person: Uuid) -> Result<(), Status> {
    let request = ProvisionUserRequest {
        user_id: person.to_string(),
        request_id: random::uuid().to_string(),
    };
    let identity = stack.service("identity").unwrap();
    identity.person().provision_user(request).await.map(drop)
}
