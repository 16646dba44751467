//! AppendMessage: the texts and ids that it accepts, and those that it refuses.

use haven_proto::data::v1::{AppendMessageRequest, SenderType};
use haven_testkit::{Stack, random};

use super::{get, message, say, try_append};
use crate::status::{reason, violations};

#[tokio::test]
async fn a_message_has_1_to_2000_code_points() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    for character in ["x", "é", "✓", "🎉", "\0", "\n"] {
        let longest = say(&ada, &character.repeat(2_000)).await;
        assert_eq!(
            get(&ada, &longest.id).await.unwrap().text,
            character.repeat(2_000)
        );
        let too_long = message(SenderType::User, &character.repeat(2_001));
        let status = try_append(&ada, too_long).await.unwrap_err();
        assert_eq!(reason(&status), "INVALID_FIELD", "{character:?}");
        let expected = [("text".to_owned(), "MESSAGE_TOO_LONG".to_owned())];
        assert_eq!(violations(&status), expected, "{character:?}");
    }
    // Texts are stored exactly as sent: neither trimmed nor normalised.
    for text in [" ", " a\u{301} \r\n", "\u{202e}abc", "👨‍👩‍👧‍👦", "\u{feff}"] {
        let stored = say(&ada, text).await;
        assert_eq!(get(&ada, &stored.id).await.unwrap().text, text);
    }
}

#[tokio::test]
async fn a_client_may_choose_a_message_id_once() {
    let stack = Stack::shared().await.unwrap();
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
    // Message ids are per person: another person may use the same one.
    assert!(try_append(&bob, with_id("three")).await.is_ok());
    let next = say(&ada, "four").await;
    assert_eq!(next.number, 2, "a refused message takes no number");
}

#[tokio::test]
async fn an_invalid_message_is_refused_with_every_violation() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let status = try_append(&ada, AppendMessageRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let fields: Vec<_> = violations(&status).into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["request_id", "sender_type", "text"]);
}
