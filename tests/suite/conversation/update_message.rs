//! UpdateMessage: a change is made once, and is based on the version that the client has seen.

use haven_proto::data::v1::{SenderType, UpdateMessageRequest};
use haven_testkit::{Stack, random};

use super::{change, delete, deletion, get, message, say, try_append, update};
use crate::{
    status::{metadata, reason, violations},
    superuser_sql::scalar_with,
};

#[tokio::test]
async fn a_changed_message_keeps_its_id_number_and_create_time() {
    let stack = Stack::shared().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let (first, second) = (say(&ada, "I did not go").await, say(&ada, "And then").await);
    let sealed = "SELECT message_text FROM data.conversations WHERE user_id = $1 AND number = 1";
    let before: String = scalar_with(&stack.database, sealed, person.id).await;
    let changed = update(&ada, change(&first, "I went — 🎉")).await.unwrap();
    assert_eq!((changed.text.as_str(), changed.version), ("I went — 🎉", 2));
    assert_eq!(
        (&changed.id, changed.number, changed.create_time),
        (&first.id, 1, first.create_time)
    );
    assert!(changed.update_time.unwrap().seconds >= first.update_time.unwrap().seconds);
    assert_ne!(changed.update_time, first.update_time);
    assert_eq!(get(&ada, &first.id).await.unwrap(), changed);
    assert_eq!(get(&ada, &second.id).await.unwrap(), second);
    let after: String = scalar_with(&stack.database, sealed, person.id).await;
    assert!(after.starts_with("gAAAA") && after != before, "{after}");
    // An update to the same text is a change, too.
    let third = update(&ada, change(&changed, "I went — 🎉")).await.unwrap();
    assert_eq!(third.version, 3);
}

#[tokio::test]
async fn a_change_has_to_expect_the_current_version() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let written = say(&ada, "one").await;
    let changed = update(&ada, change(&written, "two")).await.unwrap();
    for (version, text) in [(1, "three"), (3, "four"), (i64::MAX, "five")] {
        let request = UpdateMessageRequest {
            expected_version: version,
            ..change(&written, text)
        };
        let status = update(&ada, request).await.unwrap_err();
        assert_eq!(reason(&status), "VERSION_CONFLICT", "{version}");
        assert_eq!(metadata(&status, "current_version"), "2", "{version}");
    }
    assert_eq!(get(&ada, &written.id).await.unwrap(), changed);
}

#[tokio::test]
async fn messages_of_other_people_and_other_senders_cannot_be_changed() {
    let stack = Stack::shared().await.unwrap();
    let (ada, bob) = (stack.person().await.unwrap(), stack.person().await.unwrap());
    let backend = stack.service("backend").unwrap();
    let through = backend.with_token(&ada.token).unwrap();
    let (ada, bob) = (stack.user(&ada).unwrap(), stack.user(&bob).unwrap());
    let written = say(&ada, "hello").await;
    let status = update(&bob, change(&written, "goodbye")).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
    for sender in [SenderType::Coach, SenderType::System] {
        let theirs = try_append(&through, message(sender, "hello")).await.unwrap();
        for caller in [&ada, &through] {
            // Both the current version and another one are refused.
            for version in [1, 2] {
                let request = UpdateMessageRequest {
                    expected_version: version,
                    ..change(&theirs, "goodbye")
                };
                let status = update(caller, request).await.unwrap_err();
                assert_eq!(reason(&status), "ACCESS_DENIED", "{sender:?}");
            }
        }
        assert_eq!(get(&ada, &theirs.id).await.unwrap(), theirs);
    }
    assert_eq!(get(&ada, &written.id).await.unwrap(), written);
    // A service that acts for the person may change the person's messages.
    let changed = update(&through, change(&written, "goodbye")).await.unwrap();
    assert_eq!(get(&ada, &written.id).await.unwrap(), changed);
}

#[tokio::test]
async fn a_repeated_change_gets_the_original_answer() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let written = say(&ada, "one").await;
    let request = change(&written, "two");
    let second = update(&ada, request.clone()).await.unwrap();
    assert_eq!(update(&ada, request.clone()).await.unwrap(), second);
    let third = update(&ada, change(&second, "three")).await.unwrap();
    assert_eq!(update(&ada, request.clone()).await.unwrap(), second);
    assert_eq!(get(&ada, &written.id).await.unwrap(), third);
    delete(&ada, deletion(&written)).await.unwrap();
    assert_eq!(update(&ada, request).await.unwrap(), second);
    let status = update(&ada, change(&third, "four")).await.unwrap_err();
    assert_eq!(reason(&status), "NOT_FOUND");
}

#[tokio::test]
async fn a_request_id_is_bound_to_one_change() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let appended = message(SenderType::User, "one");
    let written = try_append(&ada, appended.clone()).await.unwrap();
    let other = say(&ada, "another").await;
    let request = change(&written, "two");
    let changed = update(&ada, request.clone()).await.unwrap();
    for reused in [
        UpdateMessageRequest {
            text: "three".into(),
            ..request.clone()
        },
        UpdateMessageRequest {
            expected_version: 2,
            ..request.clone()
        },
        UpdateMessageRequest {
            message_id: other.id.clone(),
            ..request.clone()
        },
        // The request id of another RPC.
        UpdateMessageRequest {
            request_id: appended.request_id.clone(),
            ..change(&changed, "three")
        },
    ] {
        let status = update(&ada, reused.clone()).await.unwrap_err();
        assert_eq!(reason(&status), "REQUEST_ID_REUSED", "{reused:?}");
    }
    assert_eq!(get(&ada, &written.id).await.unwrap(), changed);
    assert_eq!(get(&ada, &other.id).await.unwrap(), other);
}

#[tokio::test]
async fn an_invalid_change_is_refused_with_every_violation() {
    let stack = Stack::shared().await.unwrap();
    let ada = stack.user(&stack.person().await.unwrap()).unwrap();
    let named = |status| {
        assert_eq!(reason(&status), "INVALID_FIELD");
        let violations = violations(&status).into_iter();
        violations
            .map(|(field, name)| format!("{field} {name}"))
            .collect::<Vec<_>>()
    };
    let empty = update(&ada, UpdateMessageRequest::default()).await.unwrap_err();
    let expected = [
        "request_id REQUIRED",
        "message_id REQUIRED",
        "text MESSAGE_EMPTY",
        "expected_version REQUIRED",
    ];
    assert_eq!(named(empty), expected);
    let wrong = UpdateMessageRequest {
        message_id: "x".into(),
        text: "🎉".repeat(2_001),
        expected_version: -1,
        request_id: random::uuid().to_string(),
    };
    let expected = [
        "message_id NOT_A_UUID",
        "text MESSAGE_TOO_LONG",
        "expected_version REQUIRED",
    ];
    assert_eq!(named(update(&ada, wrong).await.unwrap_err()), expected);
    let unknown = UpdateMessageRequest {
        message_id: random::uuid().to_string(),
        text: "🎉".repeat(2_000),
        expected_version: 1,
        request_id: random::uuid().to_string(),
    };
    assert_eq!(reason(&update(&ada, unknown).await.unwrap_err()), "NOT_FOUND");
}
