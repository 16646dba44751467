//! What can be appended, and what cannot.

use haven_proto::data::v1::{AppendMessageRequest, SenderType};
use haven_testkit::{Stack, random};

use super::{get, message, say, try_append};
use crate::status::{reason, violations};

#[tokio::test]
async fn a_message_has_1_to_2000_code_points() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    for one in ["x", "é", "✓", "🎉", "\0", "\n"] {
        let longest = say(&ada, &one.repeat(2_000)).await;
        assert_eq!(get(&ada, &longest.id).await.unwrap().text, one.repeat(2_000));
        let too_long = message(SenderType::User, &one.repeat(2_001));
        let status = try_append(&ada, too_long).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD", "{one:?}");
        let expected = [("text".to_owned(), "MESSAGE_TOO_LONG".to_owned())];
        assert_eq!(violations(&status), expected, "{one:?}");
    }
    // Kept exactly as sent: neither trimmed nor normalised.
    for text in [" ", " a\u{301} \r\n", "\u{202e}abc", "👨‍👩‍👧‍👦", "\u{feff}"] {
        let said = say(&ada, text).await;
        assert_eq!(get(&ada, &said.id).await.unwrap().text, text);
    }
}

#[tokio::test]
async fn a_client_may_bring_the_id_and_bring_it_once() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    let id = random::uuid().to_string();
    let with_id = |text| AppendMessageRequest {
        message_id: id.clone(),
        ..message(SenderType::User, text)
    };
    let stored = try_append(&ada, with_id("one")).await.unwrap();
    assert_eq!(stored.id, id);
    let status = try_append(&ada, with_id("two")).await.unwrap_err();
    assert_eq!(reason(&status), "RECORD_EXISTS");
    // Another person's id is nobody's business: the same one is free for everybody else.
    assert!(try_append(&bob, with_id("three")).await.is_ok());
    let next = say(&ada, "four").await;
    assert_eq!(next.number, 2, "a refused message takes no number");
}

#[tokio::test]
async fn what_is_no_message_is_refused_with_every_violation() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let status = try_append(&ada, AppendMessageRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let fields: Vec<_> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["request_id", "sender_type", "text"]);
}
