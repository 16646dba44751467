//! What somebody says, on its way into the table and back: sealed there, and opened for nobody else.

use haven_proto::data::v1::{
    AppendMessageRequest, GetMessageRequest, ListMessagesRequest, Message, SenderType,
};
use haven_testkit::{Client, Stack, random};

use crate::{
    status::reason,
    superuser_sql::{execute, scalar},
};

async fn append(client: &Client, text: &str) -> Message {
    let request = AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: text.into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    };
    client
        .conversation()
        .append_message(request)
        .await
        .unwrap()
        .into_inner()
        .message
        .unwrap()
}

#[tokio::test]
async fn a_message_is_sealed_at_rest_and_opened_for_its_person_alone() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    let text = "I was afraid of the party — и всё же пошла 🎉";
    let sent = append(&ada, text).await;
    assert_eq!((sent.number, sent.version, sent.text.as_str()), (1, 1, text));

    let get = GetMessageRequest {
        message_id: sent.id.clone(),
    };
    let read = ada
        .conversation()
        .get_message(get.clone())
        .await
        .unwrap()
        .into_inner()
        .message
        .unwrap();
    assert_eq!(read, sent);
    let status = bob.conversation().get_message(get).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    let page = bob
        .conversation()
        .list_messages(ListMessagesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(page.messages.is_empty());

    let stored: String = scalar(&stack.database, "SELECT message_text FROM data.conversations").await;
    assert!(
        stored.starts_with("gAAAA") && !stored.contains("party"),
        "{stored}"
    );
}

#[tokio::test]
async fn a_sealed_text_that_is_moved_does_not_open() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let ada = stack.user(&ada).unwrap();
    let (first, second) = (append(&ada, "the first").await, append(&ada, "the second").await);
    // What somebody with the owner's rights could do to the table.
    execute(
        &stack.database,
        "UPDATE data.conversations AS c SET message_text = o.message_text FROM data.conversations AS o
         WHERE c.number = 2 AND o.number = 1",
    )
    .await;
    let get = |id: &str| GetMessageRequest {
        message_id: id.to_owned(),
    };
    assert!(ada.conversation().get_message(get(&first.id)).await.is_ok());
    let status = ada.conversation().get_message(get(&second.id)).await.unwrap_err();
    assert_eq!(reason(&status), "INTERNAL");
}
