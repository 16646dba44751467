//! `haven.data.v1.ConversationService`: a person's conversation with their coach. Here is reading one message; the other
//! RPCs have files of their own.

mod append_message;
mod finding;
mod list_messages;
pub(super) mod message;
mod update_message;

use haven_platform::{
    call::{Call, UserId},
    failure::Failure,
    reason::Reason,
    time::timestamp,
    violations::Violations,
};
use haven_proto::data::v1::{
    self as proto, AppendMessageRequest, AppendMessageResponse, DeleteMessageRequest, DeleteMessageResponse,
    GetMessageRequest, GetMessageResponse, ListMessagesRequest, ListMessagesResponse, UpdateMessageRequest,
    UpdateMessageResponse, conversation_service_server::ConversationService,
};
use tonic::{Request, Response, Status};

use super::DataRpc;
use crate::domain::message::{Message, SealedMessage, SenderType};

impl DataRpc {
    async fn get_message_of(
        &self,
        call: &Call,
        request: &GetMessageRequest,
    ) -> Result<GetMessageResponse, Failure> {
        let owner = call.user()?;
        let mut violations = Violations::new();
        let id = violations.uuid("message_id", &request.message_id);
        violations.check()?;
        let sealed = self.conversations.get(owner, call.deadline, id).await?;
        let sealed = sealed.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(GetMessageResponse {
            message: Some(self.open(owner, sealed)?),
        })
    }

    /// Opens a message of `owner`, for them to see.
    pub(in crate::rpc) fn open(
        &self,
        owner: UserId,
        sealed: SealedMessage,
    ) -> Result<proto::Message, Failure> {
        let message = sealed.open(&self.keys, owner).map_err(Failure::internal)?;
        Ok(answer(&message))
    }
}

#[tonic::async_trait]
impl ConversationService for DataRpc {
    async fn append_message(
        &self,
        request: Request<AppendMessageRequest>,
    ) -> Result<Response<AppendMessageResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.append_message_of(&call, request.into_inner()).await?,
        ))
    }

    async fn get_message(
        &self,
        request: Request<GetMessageRequest>,
    ) -> Result<Response<GetMessageResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.get_message_of(&call, request.get_ref()).await?,
        ))
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.list_messages_of(&call, request.into_inner()).await?,
        ))
    }

    async fn update_message(
        &self,
        request: Request<UpdateMessageRequest>,
    ) -> Result<Response<UpdateMessageResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.update_message_of(&call, request.into_inner()).await?,
        ))
    }

    async fn delete_message(
        &self,
        request: Request<DeleteMessageRequest>,
    ) -> Result<Response<DeleteMessageResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.delete_message_of(&call, request.into_inner()).await?,
        ))
    }
}

/// A message as it is sent.
pub(in crate::rpc) fn answer(message: &Message) -> proto::Message {
    let sender_type = match message.sender {
        SenderType::User => proto::SenderType::User,
        SenderType::Coach => proto::SenderType::Coach,
        SenderType::System => proto::SenderType::System,
    };
    proto::Message {
        id: message.id.to_string(),
        number: message.number.get(),
        sender_type: sender_type.into(),
        text: message.text.expose().to_owned(),
        create_time: Some(timestamp(message.created_at)),
        update_time: Some(timestamp(message.updated_at)),
        version: message.version,
    }
}
