//! `haven.data.v1.ConversationService`: a person's conversation with their coach.

use haven_platform::{
    call::{Call, UserId},
    entropy::Entropy,
    failure::Failure,
    mac::{MacKey, SecretKey},
    page::PageTokens,
    reason::Reason,
    time::{Clock, timestamp},
};
use haven_proto::data::v1::{
    self as proto, AppendMessageRequest, AppendMessageResponse, GetMessageRequest, GetMessageResponse,
    ListMessagesRequest, ListMessagesResponse, conversation_service_server::ConversationService,
};
use tonic::{Request, Response, Status};

use super::parsing::{self, Append};
use crate::{
    domain::{
        key_ring::KeyRing,
        listing::MessageOrder,
        message::{self, Message, MessageNumber, SealedMessage, SenderType},
    },
    store::conversation::{AppendError, Conversations, NewMessage},
};

/// The service, as the server runs it.
#[derive(Debug)]
pub struct ConversationRpc {
    conversations: Conversations,
    keys: KeyRing,
    requests: MacKey,
    pages: PageTokens,
    clock: Clock,
    entropy: Entropy,
}

impl ConversationRpc {
    /// The service over `conversations`, whose texts `keys` seal and open. `secret` is for what a client brings back:
    /// request ids and page tokens.
    #[must_use]
    pub fn new(
        conversations: Conversations,
        keys: KeyRing,
        secret: &SecretKey,
        clock: Clock,
        entropy: Entropy,
    ) -> Self {
        Self {
            conversations,
            keys,
            requests: MacKey::derive(secret, "data requests"),
            pages: PageTokens::new(MacKey::derive(secret, "data page tokens")),
            clock,
            entropy,
        }
    }

    async fn append(
        &self,
        call: &Call,
        request: AppendMessageRequest,
    ) -> Result<AppendMessageResponse, Failure> {
        let owner = call.user()?;
        let Append {
            sender,
            text,
            id,
            request,
        } = parsing::append(request, &self.requests)?;
        let id = id.unwrap_or_else(|| self.entropy.uuid_v7(&self.clock));
        let created_at = self.clock.now();
        let new = NewMessage {
            id,
            sender,
            text: self
                .keys
                .seal(message::cell(owner, id), text.expose(), created_at),
            created_at,
        };
        let appended = self
            .conversations
            .append(owner, call.deadline, &new, request)
            .await?;
        // The sender and the text of a retry are those of the first request, or its keyed hash would be another.
        let message = Message {
            id: appended.id,
            number: appended.number,
            sender,
            text,
            created_at: appended.created_at,
            updated_at: appended.created_at,
            version: 1,
        };
        Ok(AppendMessageResponse {
            message: Some(answer(&message)),
        })
    }

    async fn get(&self, call: &Call, request: &GetMessageRequest) -> Result<GetMessageResponse, Failure> {
        let owner = call.user()?;
        let id = parsing::get(request)?;
        let sealed = self.conversations.get(owner, call.deadline, id).await?;
        let sealed = sealed.ok_or_else(|| Failure::new(Reason::NotFound))?;
        Ok(GetMessageResponse {
            message: Some(self.open(owner, sealed)?),
        })
    }

    async fn list(&self, call: &Call, request: ListMessagesRequest) -> Result<ListMessagesResponse, Failure> {
        let owner = call.user()?;
        let list = parsing::list(request)?;
        let after = self.pages.cursor(owner, list_of(list.order), &list.token)?;
        let after = after.map(number).transpose()?;
        let page = self
            .conversations
            .list(owner, call.deadline, list.order, after, list.size)
            .await?;
        let next = page.messages.last().filter(|_| page.more).map(|last| last.number);
        let messages = page
            .messages
            .into_iter()
            .map(|sealed| self.open(owner, sealed))
            .collect::<Result<_, _>>()?;
        let next_page_token = next
            .map(|after| self.page_token(owner, list.order, after))
            .unwrap_or_default();
        Ok(ListMessagesResponse {
            messages,
            next_page_token,
        })
    }

    fn open(&self, owner: UserId, sealed: SealedMessage) -> Result<proto::Message, Failure> {
        let message = sealed.open(&self.keys, owner).map_err(Failure::internal)?;
        Ok(answer(&message))
    }

    fn page_token(&self, owner: UserId, order: MessageOrder, after: MessageNumber) -> String {
        self.pages.seal(owner, list_of(order), &after.get().to_be_bytes())
    }
}

#[tonic::async_trait]
impl ConversationService for ConversationRpc {
    async fn append_message(
        &self,
        request: Request<AppendMessageRequest>,
    ) -> Result<Response<AppendMessageResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.append(&call, request.into_inner()).await?))
    }

    async fn get_message(
        &self,
        request: Request<GetMessageRequest>,
    ) -> Result<Response<GetMessageResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.get(&call, request.get_ref()).await?))
    }

    async fn list_messages(
        &self,
        request: Request<ListMessagesRequest>,
    ) -> Result<Response<ListMessagesResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.list(&call, request.into_inner()).await?))
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::AccountNotReady => Self::new(Reason::AccountNotReady),
            AppendError::AccountErased => Self::new(Reason::AccountErased),
            AppendError::MessageExists => Self::new(Reason::RecordExists),
            AppendError::RequestIdReused => Self::new(Reason::RequestIdReused),
            AppendError::Database(error) => error.into(),
        }
    }
}

/// The number that a page token holds.
fn number(cursor: [u8; 8]) -> Result<MessageNumber, Failure> {
    let number = MessageNumber::new(i64::from_be_bytes(cursor));
    number.ok_or_else(|| Failure::new(Reason::PageTokenInvalid))
}

/// What has to be the same from page to page.
fn list_of(order: MessageOrder) -> &'static [u8] {
    match order {
        MessageOrder::OldestFirst => b"ListMessages, oldest first",
        MessageOrder::NewestFirst => b"ListMessages, newest first",
    }
}

fn answer(message: &Message) -> proto::Message {
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
