//! Page tokens of another caller or another request, and malformed ones.

use haven_proto::data::v1::{AppendMessageRequest, ListMessagesRequest, MessageOrder, SenderType};
use haven_testkit::{Client, random};

use super::Served;
use crate::status::reason;

/// Returns a request for a page of one message.
fn list(order: MessageOrder, page_token: &str) -> ListMessagesRequest {
    ListMessagesRequest {
        page_size: 1,
        page_token: page_token.to_owned(),
        order: order.into(),
        ..ListMessagesRequest::default()
    }
}

/// Lists the first page, and returns the next page token.
async fn next_page(client: &Client, order: MessageOrder) -> String {
    let page = client
        .conversation()
        .list_messages(list(order, ""))
        .await
        .unwrap();
    let token = page.into_inner().next_page_token;
    assert!(!token.is_empty());
    token
}

#[tokio::test]
async fn a_page_token_is_valid_for_its_caller_and_its_order_only() {
    let served = Served::shared().await;
    let (ada, bob) = (&served.client, served.stack.person().await.unwrap());
    let bob = served.stack.user(&bob).unwrap();
    for client in [ada, &bob] {
        for _ in 0..3 {
            let append = AppendMessageRequest {
                sender_type: SenderType::User.into(),
                text: "hello".into(),
                message_id: String::new(),
                request_id: random::uuid().to_string(),
            };
            client.conversation().append_message(append).await.unwrap();
        }
    }
    use MessageOrder::{NewestFirst, OldestFirst, Unspecified};
    let oldest = next_page(ada, OldestFirst).await;
    let newest = next_page(ada, NewestFirst).await;
    let mut wrong = vec![
        (OldestFirst, next_page(&bob, OldestFirst).await),
        (NewestFirst, next_page(&bob, NewestFirst).await),
        (OldestFirst, newest.clone()),
        (NewestFirst, oldest.clone()),
        (Unspecified, newest.clone()),
    ];
    // Truncated at every length, changed at every position, and other strings.
    for length in 1..oldest.len() {
        wrong.push((OldestFirst, oldest[..length].to_owned()));
    }
    for position in 0..oldest.len() {
        let mut changed = oldest.clone().into_bytes();
        changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        wrong.push((OldestFirst, changed));
    }
    for garbage in [
        "x",
        " ",
        "\0",
        "\n",
        "ü",
        "....",
        "=",
        "AAAA",
        "null",
        "0",
        "-1",
        "' OR 1=1 --",
    ] {
        wrong.push((OldestFirst, garbage.to_owned()));
    }
    for padded in [
        format!("{oldest}="),
        format!("{oldest}A"),
        format!(" {oldest}"),
        oldest.repeat(2),
    ] {
        wrong.push((OldestFirst, padded));
    }
    wrong.push((OldestFirst, "A".repeat(900_000)));
    for (order, token) in wrong {
        let listed = ada.conversation().list_messages(list(order, &token)).await;
        let shown = &token[..token.floor_char_boundary(80)];
        let status = listed.expect_err(shown);
        assert_eq!(reason(&status), "PAGE_TOKEN_INVALID", "{shown}");
    }
    for (order, token, number) in [
        (OldestFirst, &oldest, 2),
        (Unspecified, &oldest, 2),
        (NewestFirst, &newest, 2),
    ] {
        let page = ada
            .conversation()
            .list_messages(list(order, token))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(page.messages[0].number, number);
    }
    served.still_serves("page tokens").await;
}
