//! Appending, reading and paging messages, as their person and as nobody else.

use haven_proto::data::v1::{
    AppendMessageRequest, GetMessageRequest, ListMessagesRequest, Message, MessageOrder, SenderType,
};
use haven_testkit::{Client, Stack, random};

use crate::{
    sql::{execute, scalar},
    status::{reason, violations},
};

fn message(text: &str) -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: text.into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

async fn append(client: &Client, text: &str) -> Message {
    client
        .conversation()
        .append_message(message(text))
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

#[tokio::test]
async fn numbers_have_no_gaps_and_pages_show_each_message_once() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let ada = stack.user(&ada).unwrap();
    for batch in 0..5 {
        let appended = (0..5)
            .map(|i| append(&ada, ["a", "b", "c", "d", "e"][i]))
            .collect::<Vec<_>>();
        let mut numbers: Vec<_> = futures_util::future::join_all(appended)
            .await
            .into_iter()
            .map(|message| message.number)
            .collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (batch * 5 + 1..=batch * 5 + 5).collect::<Vec<_>>());
    }
    for (order, expected) in [
        (MessageOrder::Unspecified, (1..=25).collect::<Vec<_>>()),
        (MessageOrder::NewestFirst, (1..=25).rev().collect()),
    ] {
        let mut request = ListMessagesRequest {
            page_size: 7,
            page_token: String::new(),
            order: order.into(),
        };
        let (mut seen, mut pages) = (Vec::new(), 0);
        loop {
            let page = ada
                .conversation()
                .list_messages(request.clone())
                .await
                .unwrap()
                .into_inner();
            seen.extend(page.messages.iter().map(|message| message.number));
            pages += 1;
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!((seen, pages), (expected, 4), "{order:?}");
    }
}

#[tokio::test]
async fn a_page_of_large_messages_stays_below_the_size_of_an_answer() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let ada = stack.user(&ada).unwrap();
    let large = "x".repeat(32 * 1024);
    for _ in 0..150 {
        append(&ada, &large).await;
    }
    let mut request = ListMessagesRequest {
        page_size: 200,
        ..Default::default()
    };
    let (mut seen, mut pages) = (0, 0);
    loop {
        let page = ada
            .conversation()
            .list_messages(request.clone())
            .await
            .unwrap()
            .into_inner();
        seen += page.messages.len();
        pages += 1;
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert!(seen == 150 && pages > 1, "{seen} in {pages}");
}

#[tokio::test]
async fn a_client_may_bring_the_id_and_bring_it_once() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    let id = random::uuid().to_string();
    let with_id = |text| AppendMessageRequest {
        message_id: id.clone(),
        ..message(text)
    };
    let mut conversation = ada.conversation();
    let stored = conversation
        .append_message(with_id("one"))
        .await
        .unwrap()
        .into_inner()
        .message
        .unwrap();
    assert_eq!(stored.id, id);
    let status = conversation.append_message(with_id("two")).await.unwrap_err();
    assert_eq!(reason(&status), "RECORD_EXISTS");
    // Another person's id is nobody's business: the same one is free for everybody else.
    assert!(bob.conversation().append_message(with_id("three")).await.is_ok());
    assert_eq!(
        append(&ada, "four").await.number,
        2,
        "a refused message takes no number"
    );
}

#[tokio::test]
async fn what_is_no_message_is_refused_with_every_violation() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let mut conversation = stack.user(&ada).unwrap().conversation();
    let status = conversation
        .append_message(AppendMessageRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let fields: Vec<_> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields.len(), 3, "{fields:?}");
    let too_long = AppendMessageRequest {
        text: "x".repeat(32_769),
        ..message("")
    };
    let status = conversation.append_message(too_long).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
}
