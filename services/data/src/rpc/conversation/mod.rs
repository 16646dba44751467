//! `haven.data.v1.ConversationService`: a person's conversation with their coach.

mod append_message;
mod delete_message;
mod finding;
mod get_message;
mod list_messages;
pub(in crate::rpc) mod message;
mod update_message;

use std::sync::Arc;

use haven_platform::{
    entropy::Entropy, failure::Failure, grpc_service, mac::MacKeys, page::PageTokens, reason::Reason,
    time::Clock,
};
use haven_proto::data::v1::{
    AppendMessageRequest, AppendMessageResponse, DeleteMessageRequest, DeleteMessageResponse,
    GetMessageRequest, GetMessageResponse, ListMessagesRequest, ListMessagesResponse, UpdateMessageRequest,
    UpdateMessageResponse, conversation_service_server::ConversationService,
};

use crate::{
    crisis_detection::Detection,
    domain::key_ring::KeyRing,
    notify::Notify,
    store::conversation::{ChangeError, Conversations},
};

/// The implementation of ConversationService.
#[derive(Debug)]
pub struct ConversationRpc {
    /// The table of messages.
    pub conversations: Conversations,
    /// Searches the person's messages for signs of a crisis.
    pub detection: Detection,
    /// Seals and opens texts.
    pub keys: Arc<KeyRing>,
    /// Notifies waiting workers of new analysis jobs.
    pub new_jobs: Notify,
    /// Notifies watching services of new crisis events.
    pub new_crisis_events: Notify,
    /// The key for the keyed hashes of requests.
    pub requests: MacKeys,
    /// Seals and verifies page tokens.
    pub pages: PageTokens,
    /// The clock that times of creation and change are read from.
    pub clock: Clock,
    /// The source of ids.
    pub entropy: Entropy,
}

grpc_service! {
    impl ConversationService for ConversationRpc {
        rpc append_message(AppendMessageRequest) -> AppendMessageResponse;
        rpc get_message(GetMessageRequest) -> GetMessageResponse;
        rpc list_messages(ListMessagesRequest) -> ListMessagesResponse;
        rpc update_message(UpdateMessageRequest) -> UpdateMessageResponse;
        rpc delete_message(DeleteMessageRequest) -> DeleteMessageResponse;
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound => Self::new(Reason::NotFound),
            ChangeError::NotOwnMessage => Self::new(Reason::AccessDenied),
            ChangeError::VersionConflict { current } => {
                Self::new(Reason::VersionConflict).metadata("current_version", current.to_string())
            }
            ChangeError::RequestIdReused => Self::new(Reason::RequestIdReused),
            ChangeError::Database(error) => error.into(),
        }
    }
}
