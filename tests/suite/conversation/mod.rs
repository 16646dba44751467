//! `haven.data.v1.ConversationService`: messages are appended, listed, changed and deleted.

mod append_message;
mod append_message_retries;
mod automatic_analysis_jobs;
mod concurrent_changes;
mod crisis_detection;
mod delete_message;
mod list_messages;
mod message_numbers;
mod sender_types;
mod update_message;

use haven_proto::data::v1::{
    AppendMessageRequest, DeleteMessageRequest, GetMessageRequest, ListMessagesRequest, Message, SenderType,
    UpdateMessageRequest,
};
use haven_testkit::{Client, random};
use tonic::Status;

use crate::retry::retry_call;

/// Returns a request to append a message, with a new request id.
fn message(sender: SenderType, text: &str) -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: sender.into(),
        text: text.into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

/// Appends a message, with retries.
async fn try_append(client: &Client, request: AppendMessageRequest) -> Result<Message, Status> {
    let mut conversation = client.conversation();
    let answer = retry_call(request, async |request| {
        conversation.append_message(request).await
    })
    .await?;
    Ok(answer.message.unwrap())
}

/// Appends a message of the person.
async fn say(client: &Client, text: &str) -> Message {
    try_append(client, message(SenderType::User, text)).await.unwrap()
}

/// Returns the message with `id`.
async fn get(client: &Client, id: &str) -> Result<Message, Status> {
    let request = GetMessageRequest {
        message_id: id.to_owned(),
    };
    let mut conversation = client.conversation();
    let answer = retry_call(request, async |request| conversation.get_message(request).await).await?;
    Ok(answer.message.unwrap())
}

/// Returns a request to change the text of `message`, based on its version.
fn change(message: &Message, text: &str) -> UpdateMessageRequest {
    UpdateMessageRequest {
        message_id: message.id.clone(),
        text: text.into(),
        expected_version: message.version,
        request_id: random::uuid().to_string(),
    }
}

/// Changes a message, with retries.
async fn update(client: &Client, request: UpdateMessageRequest) -> Result<Message, Status> {
    let mut conversation = client.conversation();
    let answer = retry_call(request, async |request| {
        conversation.update_message(request).await
    })
    .await?;
    Ok(answer.message.unwrap())
}

/// Returns a request to delete `message`.
fn deletion(message: &Message) -> DeleteMessageRequest {
    DeleteMessageRequest {
        message_id: message.id.clone(),
        request_id: random::uuid().to_string(),
    }
}

/// Deletes a message, with retries.
async fn delete(client: &Client, request: DeleteMessageRequest) -> Result<(), Status> {
    let mut conversation = client.conversation();
    retry_call(request, async |request| {
        conversation.delete_message(request).await
    })
    .await?;
    Ok(())
}

/// Returns everything that `request` lists, page by page, and the number of pages.
async fn walk(client: &Client, mut request: ListMessagesRequest) -> (Vec<Message>, usize) {
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = retry_call(request.clone(), async |request| {
            client.conversation().list_messages(request).await
        });
        let page = page.await.unwrap();
        seen.extend(page.messages);
        pages += 1;
        if page.next_page_token.is_empty() {
            return (seen, pages);
        }
        assert!(pages < 1_000, "the pages do not end");
        request.page_token = page.next_page_token;
    }
}

/// Returns the numbers of the client's messages, in ascending order.
async fn numbers(client: &Client) -> Vec<i64> {
    let (messages, _) = walk(client, ListMessagesRequest::default()).await;
    messages.iter().map(|message| message.number).collect()
}
