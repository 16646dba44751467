//! Invalid values of fields.

use std::time::{Duration, Instant};

use haven_proto::{
    data::v1::{
        AppendMessageRequest, GetMessageRequest, ListMessagesRequest, ProvisionUserRequest, SenderType,
    },
    identity::v1::{ConsentGrant, SignInRequest, SignUpRequest},
};
use haven_testkit::{client::sign_up_request, random};
use tonic::{Response, Status};

use super::Served;
use crate::status::{reason, violations};

const PASSWORD: &str = "Correct-Horse-7-Battery";

/// Asserts that a call failed with the reason `expected`, and that `field` has one of the violations `wrong`.
fn refused<T>(outcome: Result<Response<T>, Status>, expected: &str, field: &str, wrong: &[&str]) {
    let Err(status) = outcome else {
        panic!("{field} was accepted")
    };
    assert_eq!(reason(&status), expected, "{field}");
    let reported = violations(&status);
    assert!(
        reported
            .iter()
            .any(|(at, name)| at == field && wrong.contains(&&**name)),
        "{field}: {reported:?}"
    );
}

/// Returns a valid request under a new request id.
fn message() -> AppendMessageRequest {
    AppendMessageRequest {
        sender_type: SenderType::User.into(),
        text: "hello".into(),
        message_id: String::new(),
        request_id: random::uuid().to_string(),
    }
}

/// Returns a request that is valid if `email` is.
fn sign_up(email: &str) -> SignUpRequest {
    sign_up_request(email, PASSWORD)
}

#[tokio::test]
async fn a_malformed_uuid_is_reported_with_its_field() {
    let served = Served::shared().await;
    let (client, valid) = (&served.client, random::uuid().to_string());
    let identity = served.stack.service("identity").unwrap();
    let wrong = [
        String::new(),
        "x".into(),
        "\0".into(),
        format!("{valid}\0"),
        format!(" {valid}"),
        format!("{{{valid}}}"),
        format!("urn:uuid:{valid}"),
        valid.replace('-', ""),
        valid.replace('-', "–"),
        "00000000-0000-0000-0000-000000000000".into(),
        "x".repeat(500_000),
    ];
    let names = ["NOT_A_UUID", "REQUIRED"];
    for id in wrong {
        let get = GetMessageRequest {
            message_id: id.clone(),
        };
        refused(
            client.conversation().get_message(get).await,
            "INVALID_FIELD",
            "message_id",
            &names,
        );
        if !id.is_empty() {
            let append = AppendMessageRequest {
                message_id: id.clone(),
                ..message()
            };
            let appended = client.conversation().append_message(append).await;
            refused(appended, "INVALID_FIELD", "message_id", &names);
        }
        let append = AppendMessageRequest {
            request_id: id.clone(),
            ..message()
        };
        let appended = client.conversation().append_message(append).await;
        refused(appended, "INVALID_FIELD", "request_id", &names);
        for (user_id, request_id, field) in [(&id, &valid, "user_id"), (&valid, &id, "request_id")] {
            let (user_id, request_id) = (user_id.clone(), request_id.clone());
            let provision = ProvisionUserRequest { user_id, request_id };
            let provisioned = identity.person().provision_user(provision).await;
            refused(provisioned, "INVALID_FIELD", field, &names);
        }
        let request = SignUpRequest {
            request_id: id.clone(),
            ..sign_up("ada@example.org")
        };
        refused(
            client.account().sign_up(request).await,
            "INVALID_FIELD",
            "request_id",
            &names,
        );
        let request = SignInRequest {
            email: served.person.email.clone(),
            password: served.person.password.clone(),
            request_id: id,
            ..SignInRequest::default()
        };
        refused(
            client.session().sign_in(request).await,
            "INVALID_FIELD",
            "request_id",
            &names,
        );
    }
    served.still_serves("malformed ids").await;
}

#[tokio::test]
async fn an_invalid_number_is_reported_with_its_field() {
    let served = Served::shared().await;
    let client = &served.client;
    for page_size in [-1, i32::MIN] {
        let list = ListMessagesRequest {
            page_size,
            ..Default::default()
        };
        let listed = client.conversation().list_messages(list).await;
        refused(listed, "INVALID_FIELD", "page_size", &["NEGATIVE"]);
    }
    for page_size in [0, 1, 200, i32::MAX] {
        let list = ListMessagesRequest {
            page_size,
            ..Default::default()
        };
        assert!(
            client.conversation().list_messages(list).await.is_ok(),
            "{page_size}"
        );
    }
    for value in [-1, 4, 99, i32::MAX, i32::MIN] {
        let list = ListMessagesRequest {
            order: value,
            ..Default::default()
        };
        let listed = client.conversation().list_messages(list).await;
        refused(listed, "INVALID_FIELD", "order", &["UNKNOWN_VALUE"]);
        let append = AppendMessageRequest {
            sender_type: value,
            ..message()
        };
        let appended = client.conversation().append_message(append).await;
        refused(appended, "INVALID_FIELD", "sender_type", &["UNKNOWN_VALUE"]);
    }
    for value in [0, -1, 8, i32::MAX] {
        let request = SignUpRequest {
            goals: vec![1, value],
            ..sign_up("ada@example.org")
        };
        refused(
            client.account().sign_up(request).await,
            "INVALID_FIELD",
            "goals[1]",
            &["UNKNOWN_VALUE"],
        );
    }
    served.still_serves("invalid numbers").await;
}

/// The type text of Postgres cannot hold a NUL. Fields that may contain one are encrypted; in others it is a violation.
#[tokio::test]
async fn a_nul_is_refused_or_stored() {
    let served = Served::shared().await;
    let client = &served.client;
    for text in ["\0", "a\0b", "\u{1}\u{7f}\u{85}\u{fffe}\u{10ffff}\r\n"] {
        let append = AppendMessageRequest {
            text: text.into(),
            ..message()
        };
        let stored = client.conversation().append_message(append).await.unwrap();
        let stored = stored.into_inner().message.unwrap();
        let get = GetMessageRequest {
            message_id: stored.id,
        };
        let read = client.conversation().get_message(get).await.unwrap().into_inner();
        assert_eq!(
            (stored.text.as_str(), read.message.unwrap().text.as_str()),
            (text, text)
        );
    }
    for email in [
        "a\0da@example.org",
        "ada@exam\0ple.org",
        "ada@example.org\0",
        "\0",
    ] {
        let invisible = ["INVISIBLE_CHARACTER"];
        refused(
            client.account().sign_up(sign_up(email)).await,
            "EMAIL_INVALID",
            "email",
            &invisible,
        );
        let request = SignInRequest {
            email: email.into(),
            password: PASSWORD.into(),
            request_id: random::uuid().to_string(),
            ..SignInRequest::default()
        };
        refused(
            client.session().sign_in(request).await,
            "INVALID_FIELD",
            "email",
            &invisible,
        );
    }
    let mut request = sign_up("ada@example.org");
    let (document, document_version) = ("te\0rms".to_owned(), "2026\0".to_owned());
    request.consents.push(ConsentGrant {
        document,
        document_version,
    });
    let signed_up = client.account().sign_up(request).await;
    refused(
        signed_up,
        "INVALID_FIELD",
        "consents[2].document",
        &["DOCUMENT_INVALID"],
    );
    // A password is used exactly as sent.
    let password = format!("{PASSWORD}\0{PASSWORD}");
    let email = format!("ada-{}@example.org", random::uuid().simple());
    client.sign_up_and_in(&email, &password).await.unwrap();
    let truncated = client.sign_in(&email, PASSWORD).await;
    assert!(truncated.is_err(), "the password ends at its NUL");
    served.still_serves("NUL bytes").await;
}

#[tokio::test]
async fn a_value_that_is_too_long_is_refused_quickly() {
    let served = Served::start().await;
    let client = &served.client;
    let domain = "x".repeat(60) + ".org";
    let began = Instant::now();
    for (email, wrong) in [
        (format!("{}@example.org", "x".repeat(900_000)), "TOO_LONG"),
        (format!("ada@{}", "x.".repeat(450_000)), "TOO_LONG"),
        (
            format!("{}@{domain}", "x".repeat(255 - 1 - domain.len())),
            "TOO_LONG",
        ),
        (format!("{}@example.org", "x".repeat(65)), "LOCAL_PART_TOO_LONG"),
        (format!("ada@{}.org", "x".repeat(64)), "DOMAIN_INVALID"),
        ("@".repeat(254), "LOCAL_PART_CHARACTER"),
        // A character that normalizes to eighteen characters.
        (
            format!("{}@example.org", "\u{fdfa}".repeat(20)),
            "LOCAL_PART_CHARACTER",
        ),
        ("\u{1f600}".repeat(63), "NO_AT_SIGN"),
    ] {
        refused(
            client.account().sign_up(sign_up(&email)).await,
            "EMAIL_INVALID",
            "email",
            &[wrong],
        );
        let request = SignInRequest {
            email,
            password: PASSWORD.into(),
            request_id: random::uuid().to_string(),
            ..SignInRequest::default()
        };
        refused(
            client.session().sign_in(request).await,
            "INVALID_FIELD",
            "email",
            &[wrong],
        );
    }
    for password in ["aA1-".repeat(225_000), "\u{1f600}".repeat(225_000)] {
        let request = SignUpRequest {
            password,
            ..sign_up("ada@example.org")
        };
        refused(
            client.account().sign_up(request).await,
            "PASSWORD_POLICY",
            "password",
            &["TOO_LONG"],
        );
    }
    let request = SignUpRequest {
        goals: vec![1; 400_000],
        ..sign_up("ada@example.org")
    };
    refused(
        client.account().sign_up(request).await,
        "INVALID_FIELD",
        "goals",
        &["TOO_MANY"],
    );
    let grant = ConsentGrant {
        document: "terms".into(),
        document_version: "2026-01".into(),
    };
    let request = SignUpRequest {
        consents: vec![grant; 40_000],
        ..sign_up("ada@example.org")
    };
    refused(
        client.account().sign_up(request).await,
        "INVALID_FIELD",
        "consents",
        &["TOO_MANY"],
    );
    let append = AppendMessageRequest {
        text: "x".repeat(900_000),
        ..message()
    };
    let appended = client.conversation().append_message(append).await;
    refused(appended, "INVALID_FIELD", "text", &["MESSAGE_TOO_LONG"]);
    // Twenty calls with a megabyte each, in a debug build. Work that is quadratic in the length would take minutes.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    served.still_serves("values that are too long").await;
}
