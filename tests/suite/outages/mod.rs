//! Outages: calls while a service or Postgres is down, and consistency after it is back.

mod cancelled_calls;
mod data_down;
mod drain;
mod frozen_connections;
mod identity_down;
mod kill;
mod lost_sessions;
mod postgres_down;
mod replaced_password;
mod sign_up_crowd;
mod standby;
mod unconfirmed_commits;
mod undeliverable_message;

use haven_proto::data::v1::{AppendMessageRequest, AppendMessageResponse, SenderType};
use haven_testkit::{Client, random};
use tonic::{Response, Status};
use tonic_types::StatusExt;

use crate::status::reason;

/// Appends a message, under a new request id.
async fn append(client: &Client) -> Result<Response<AppendMessageResponse>, Status> {
    let message = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "hello".into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    client.conversation().append_message(message).await
}

/// Returns the reason of a retryable failure. Panics without RetryInfo.
fn retryable(status: &Status) -> String {
    let delay = status
        .get_details_retry_info()
        .and_then(|retry| retry.retry_delay);
    assert!(delay.is_some_and(|delay| !delay.is_zero()), "{status:?}");
    reason(status)
}
