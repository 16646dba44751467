//! Messages are encrypted at rest, and decrypted only for their person.

use haven_proto::data::v1::{
    AppendMessageRequest, GetMessageRequest, ListMessagesRequest, Message, SenderType,
};
use haven_testkit::{Client, Stack, random};

use crate::{
    status::reason,
    superuser_sql::{execute, scalar_with},
};

/// Appends a message, and returns it.
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
async fn a_message_is_encrypted_at_rest_and_decrypted_for_its_person_only() {
    one_person(Stack::shared().await.unwrap()).await;
}

/// Tests that a message is encrypted at rest, and decrypted for its person only.
pub(crate) async fn one_person(stack: &Stack) {
    let (person, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&person).unwrap(), stack.user(&bob).unwrap());
    let text = "I was afraid of the party — и всё же пошла 🎉";
    let appended = append(&ada, text).await;
    assert_eq!(
        (appended.number, appended.version, appended.text.as_str()),
        (1, 1, text)
    );

    let get = GetMessageRequest {
        message_id: appended.id.clone(),
    };
    let read = ada
        .conversation()
        .get_message(get.clone())
        .await
        .unwrap()
        .into_inner()
        .message
        .unwrap();
    assert_eq!(read, appended);
    let status = bob.conversation().get_message(get).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    let page = bob
        .conversation()
        .list_messages(ListMessagesRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(page.messages.is_empty());

    let sql = "SELECT message_text FROM data.conversations WHERE user_id = $1";
    let stored: String = scalar_with(&stack.database, sql, person.id).await;
    assert!(
        stored.starts_with("gAAAA") && !stored.contains("party"),
        "{stored}"
    );
}

#[tokio::test]
async fn a_ciphertext_moved_to_another_message_cannot_be_decrypted() {
    moved_ciphertext(Stack::shared().await.unwrap()).await;
}

/// Tests that a ciphertext cannot be decrypted as another message.
pub(crate) async fn moved_ciphertext(stack: &Stack) {
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let (first, second) = (append(&ada, "the first").await, append(&ada, "the second").await);
    // A role with the owner's rights could do this.
    execute(
        &stack.database,
        &format!(
            "UPDATE data.conversations AS c SET message_text = o.message_text FROM data.conversations AS o
             WHERE c.user_id = '{id}' AND o.user_id = '{id}' AND c.number = 2 AND o.number = 1",
            id = person.id
        ),
    )
    .await;
    let get = |id: &str| GetMessageRequest {
        message_id: id.to_owned(),
    };
    assert!(ada.conversation().get_message(get(&first.id)).await.is_ok());
    let status = ada.conversation().get_message(get(&second.id)).await.unwrap_err();
    assert_eq!(reason(&status), "INTERNAL");
}
