//! One person from sign-up to erasure, with content of every kind.

use haven_proto::{
    data::v1::{
        DeleteMessageRequest, ExportDataRequest, GetMessageRequest, ListMessagesRequest, UpdateMessageRequest,
    },
    identity::v1::DeleteAccountRequest,
};
use haven_testkit::{Client, Stack, random};

use crate::{
    analysis_jobs,
    crisis_message::{ALARMING, say_until_heard, saying},
    encrypted_fixture::EncryptedFixture,
    eventually::eventually,
    superuser_sql::scalar_with,
};

/// Signs a person up, stores a row of every kind, exports them, and erases the person.
pub(super) async fn tell(stack: &Stack) {
    let ada = stack.person().await.unwrap();
    let user = stack.user(&ada).unwrap();
    converse(stack, &user).await;
    say_until_heard(&user, ALARMING).await;
    analysis_jobs::done(stack, &user).await;
    let plaintext = |what: &str| what.to_owned();
    EncryptedFixture::of(stack, ada.clone(), &plaintext).await;

    let mut export = user
        .person()
        .export_data(ExportDataRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut exported = 0;
    let mut complete = false;
    while let Some(part) = export.message().await.unwrap() {
        exported += part.messages.len() + part.records.len() + part.crisis_events.len() + part.analyses.len();
        complete |= part.manifest.is_some();
    }
    assert!(complete && exported >= 4, "{exported} rows, complete: {complete}");

    let delete = DeleteAccountRequest {
        user_id: String::new(),
        password: ada.password.clone(),
        request_id: random::uuid().to_string(),
    };
    user.account().delete_account(delete).await.unwrap();
    eventually("the person is erased from both services", async || {
        let left = "SELECT (SELECT count(*) FROM identity.users WHERE id = $1)
                         + (SELECT count(*) FROM data.conversations WHERE user_id = $1)
                         + (SELECT count(*) FROM data.encrypted_cycle_data WHERE user_id = $1)";
        scalar_with::<i64, _>(&stack.database, left, ada.id).await == 0
    })
    .await;
}

/// Appends, reads, lists, changes and deletes messages.
async fn converse(stack: &Stack, user: &Client) {
    let mut conversation = user.conversation();
    let mut stored = Vec::new();
    for text in ["one", "two", "three"] {
        let appended = conversation.append_message(saying(text)).await.unwrap();
        stored.push(appended.into_inner().message.unwrap());
    }
    let get = GetMessageRequest {
        message_id: stored[1].id.clone(),
    };
    let read = conversation
        .get_message(get)
        .await
        .unwrap()
        .into_inner()
        .message
        .unwrap();
    assert_eq!(read.text, "two");
    let update = UpdateMessageRequest {
        message_id: stored[1].id.clone(),
        text: "second".into(),
        expected_version: stored[1].version,
        request_id: random::uuid().to_string(),
    };
    conversation.update_message(update).await.unwrap();
    let delete = DeleteMessageRequest {
        message_id: stored[0].id.clone(),
        request_id: random::uuid().to_string(),
    };
    conversation.delete_message(delete).await.unwrap();
    let listed = conversation
        .list_messages(ListMessagesRequest::default())
        .await
        .unwrap();
    let texts: Vec<_> = listed
        .into_inner()
        .messages
        .into_iter()
        .map(|message| message.text)
        .collect();
    assert_eq!(texts, ["second", "three"]);
    let other = stack.user(&stack.person().await.unwrap()).unwrap();
    let listed = other
        .conversation()
        .list_messages(ListMessagesRequest::default())
        .await
        .unwrap();
    assert!(
        listed.into_inner().messages.is_empty(),
        "another person reads none"
    );
}
