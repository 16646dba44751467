//! Retries of AppendMessage: one message for each request, and numbers without gaps.

use haven_proto::data::v1::{AppendMessageRequest, ListMessagesRequest, Message, SenderType};
use haven_testkit::{Client, Stack, random};
use tonic::Status;

use crate::{
    concurrently::{CALLS, concurrently},
    retry::retry_call,
    status::reason,
};

/// Returns a request to append `text`, under a new request id.
fn message(text: &str) -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: text.into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

/// Calls AppendMessage with retries.
async fn append(client: &Client, request: AppendMessageRequest) -> Result<Message, Status> {
    let mut conversation = client.conversation();
    let answer = retry_call(request, async |request| {
        conversation.append_message(request).await
    });
    Ok(answer.await?.message.unwrap())
}

/// Returns all messages of the client.
async fn all(client: &Client) -> Vec<Message> {
    let page = client
        .conversation()
        .list_messages(ListMessagesRequest::default())
        .await;
    page.unwrap().into_inner().messages
}

#[tokio::test]
async fn a_retried_message_is_stored_once() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let request = message("once");
    let first = append(&ada, request.clone()).await.unwrap();
    let second = append(&ada, message("and then something else")).await.unwrap();
    assert_eq!(append(&ada, request).await.unwrap(), first);
    assert_eq!((first.number, second.number), (1, 2));
    assert_eq!(all(&ada).await, [first, second]);
}

#[tokio::test]
async fn concurrent_retries_store_one_message() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let with_an_id = AppendMessageRequest {
        message_id: random::uuid().to_string(),
        ..message("with an id of my own")
    };
    let mut stored = Vec::new();
    for request in [message("the very first"), message("the second"), with_an_id] {
        let answer = concurrently(CALLS, || async { append(&ada, request.clone()).await.unwrap() }).await;
        assert_eq!(answer.text, request.text);
        stored.push(answer);
    }
    let numbers: Vec<_> = stored.iter().map(|message| message.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(all(&ada).await, stored);
}

#[tokio::test]
async fn a_request_id_belongs_to_one_content() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let request = message("as it was");
    let first = append(&ada, request.clone()).await.unwrap();
    let others = [
        AppendMessageRequest {
            text: "as it was not".into(),
            ..request.clone()
        },
        AppendMessageRequest {
            message_id: random::uuid().to_string(),
            ..request.clone()
        },
        // The message's own id is another one too, because the first request did not name it.
        AppendMessageRequest {
            message_id: first.id.clone(),
            ..request.clone()
        },
    ];
    for other in others {
        let status = append(&ada, other.clone()).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED", "{other:?}");
    }
    assert_eq!(append(&ada, request).await.unwrap(), first);
    assert_eq!(all(&ada).await, [first]);
    let next = append(&ada, message("next")).await.unwrap();
    assert_eq!(next.number, 2, "a refused request takes no number");
}

#[tokio::test]
async fn a_request_id_belongs_to_one_person() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    let of_ada = message("Ada's");
    let of_bob = AppendMessageRequest {
        text: "Bob's".into(),
        ..of_ada.clone()
    };
    let both = tokio::join!(append(&ada, of_ada.clone()), append(&bob, of_bob.clone()));
    let (first, second) = (both.0.unwrap(), both.1.unwrap());
    assert_eq!((first.text.as_str(), first.number), ("Ada's", 1));
    assert_eq!((second.text.as_str(), second.number), ("Bob's", 1));
    assert_eq!(append(&ada, of_ada).await.unwrap(), first);
    assert_eq!(append(&bob, of_bob).await.unwrap(), second);
}
