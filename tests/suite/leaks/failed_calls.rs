//! Calls that fail in the ways that a caller can cause, with canaries in everything that they carry.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use haven_proto::{data::v1::ListMessagesRequest, identity::v1::SignInRequest};
use haven_testkit::{client::sign_up_request, random};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;

use super::{
    calls::Case,
    canary::Allowed,
    fixture::{ACCOUNTS, Caller, Disposable, Fixture, RECOVERY, message},
};
use crate::{
    raw_call::{field, headers},
    status::reason,
};

/// Sends the call with each text replaced, with malformed bytes, with a message that is too large, and with short
/// timeouts.
pub(super) async fn requests(fixture: &Fixture, case: &Case) {
    let send = |headers, body| fixture.send(case.server, case.caller, &case.path, headers, body);
    let canary = |what: &str| fixture.flock.canary(&format!("{}: {what}", case.path));
    for body in case.with_each_text(|name| canary(name).text()) {
        let _ = send(headers(&[]), body).await;
    }
    let text = canary("invalid UTF-8").text();
    let not_utf8 = field(1, &[text.as_bytes(), &[0xff]].concat());
    let _ = send(headers(&[]), not_utf8).await;
    let mut truncated = field(1, canary("shorter than its length says").text().as_bytes());
    truncated[1] = 0x7f;
    // The session of the caller that signed out is checked before the message.
    let (malformed, too_large) = match case.caller {
        Caller::Disposable(Disposable::SignsOut) => ("SESSION_REVOKED", "SESSION_REVOKED"),
        _ => ("INVALID_FIELD", "MESSAGE_TOO_LARGE"),
    };
    let status = send(headers(&[]), truncated).await.unwrap_err();
    assert_eq!(reason(&status), malformed, "{}", case.path);
    let large = field(15, canary("too large").text().repeat(40_000).as_bytes());
    let status = send(headers(&[]), large).await.unwrap_err();
    assert_eq!(reason(&status), too_large, "{}", case.path);

    // The account may be created although the caller no longer waits.
    let email = |_: &str| {
        let what = format!("{}: no time", case.path);
        fixture
            .flock
            .allowed(&what, Allowed::At(&[ACCOUNTS, RECOVERY]))
            .email()
    };
    for body in case.with_each_text(email) {
        for timeout in ["1n", "2m", "40m"] {
            let _ = send(headers(&[("grpc-timeout", timeout)]), body.clone()).await;
        }
    }
}

/// Sends the call with a canary in each header that is processed, in the path, in the query and in the token.
pub(super) async fn envelope(fixture: &Fixture, case: &Case) {
    let canary = |what: &str| {
        fixture
            .flock
            .canary(&format!("{}: {what}", case.path))
            .word()
            .to_owned()
    };
    for name in [
        "x-request-id",
        "grpc-timeout",
        "grpc-encoding",
        "grpc-accept-encoding",
        "x-user-id",
        "x-forwarded-for",
        "traceparent",
        "tracestate",
        "baggage",
        "cookie",
        "origin",
        "x-something",
    ] {
        let headers = headers(&[(name, &canary(name))]);
        let _ = fixture
            .send(case.server, case.caller, &case.path, headers, case.body.clone())
            .await;
    }
    let path = &case.path;
    for path in [
        format!("{path}{}", canary("method")),
        format!("/{}{path}", canary("package")),
        format!("{path}?password={}", canary("query")),
        format!("/{}", canary("path")),
    ] {
        let called = fixture
            .send(case.server, case.caller, &path, headers(&[]), case.body.clone())
            .await;
        if !path.contains('?') {
            assert_eq!(called.unwrap_err().code(), Code::Unimplemented);
        }
    }
    for token in tokens(&|what| canary(what)) {
        let headers = headers(&[("authorization", &token)]);
        let called = fixture
            .send(case.server, Caller::Anonymous, path, headers, case.body.clone())
            .await;
        if matches!(case.caller, Caller::Person | Caller::Disposable(_)) {
            let status = called.expect_err(path);
            assert_eq!(reason(&status), "TOKEN_INVALID", "{path}");
        }
    }
}

/// Returns `authorization` values that are not valid access tokens.
fn tokens(canary: &dyn Fn(&str) -> String) -> Vec<String> {
    let encode = |json: String| URL_SAFE_NO_PAD.encode(json);
    let signed = |header: String, claims: String| {
        format!(
            "Bearer {}.{}.{}",
            encode(header),
            encode(claims),
            canary("signature")
        )
    };
    let mut tokens = vec![
        format!("Bearer {}", canary("token")),
        format!("Bearer {0}.{0}.{0}", canary("token of three parts")),
        format!("Basic {}", canary("basic")),
        canary("authorization"),
        format!("Bearer {}", canary("long token").repeat(1_000)),
    ];
    tokens.push(signed(
        format!(r#"{{"alg":"ES256","kid":"{}"}}"#, canary("key id")),
        format!(r#"{{"sub":"{}"}}"#, canary("subject")),
    ));
    tokens.push(signed(
        format!(r#"{{"alg":"{}"}}"#, canary("algorithm")),
        format!(r#"{{"{}":1}}"#, canary("claim")),
    ));
    tokens
}

/// Sends the person's own token with a changed signature, without one, and with a suffix: its parts are as private as
/// the whole.
pub(super) async fn changed_token(fixture: &Fixture) {
    let token = &fixture.person.token;
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let reversed: String = signature.chars().rev().collect();
    fixture
        .flock
        .given("a changed signature", Allowed::Nowhere, &reversed);
    for token in [format!("{rest}.{reversed}"), rest.to_owned(), format!("{token}x")] {
        let client = fixture.stack.anonymous().unwrap().with_token(&token).unwrap();
        let listed = client
            .conversation()
            .list_messages(ListMessagesRequest::default())
            .await;
        assert_eq!(reason(&fixture.keep(listed).unwrap_err()), "TOKEN_INVALID");
    }
}

/// Sends well-formed sign-ups and sign-ins that are refused.
pub(super) async fn accounts(fixture: &Fixture) {
    let (anonymous, flock) = (fixture.client(Caller::Anonymous), &fixture.flock);
    let email = || flock.canary("a refused email address").email();
    let password = |what: &str| flock.canary(what);
    let mut refused = Vec::new();
    // The password policy: the address as the password, a password that is too long, and a weak one.
    let own = email();
    refused.push((sign_up_request(&own, &own), "PASSWORD_POLICY"));
    let long = password("a long password").password().repeat(10);
    refused.push((sign_up_request(&email(), &long), "PASSWORD_POLICY"));
    let weak = password("a weak password").word().to_owned();
    refused.push((sign_up_request(&email(), &weak), "PASSWORD_POLICY"));
    let valid = || password("the password of a refused sign-up").password();
    for invalid in ["a _", "_@", "_\0", "\u{202e}_", "<_>"] {
        let address = invalid.replace('_', &email());
        refused.push((sign_up_request(&address, &valid()), "EMAIL_INVALID"));
    }
    let mut without_consents = sign_up_request(&email(), &valid());
    without_consents.consents.clear();
    refused.push((without_consents, "CONSENT_REQUIRED"));
    refused.push((sign_up_request(&fixture.person.email, &valid()), "EMAIL_TAKEN"));
    let capitals = fixture.person.email.to_uppercase();
    refused.push((sign_up_request(&capitals, &valid()), "EMAIL_TAKEN"));
    for (request, expected) in refused {
        let signed_up = anonymous.account().sign_up(request).await;
        assert_eq!(reason(&fixture.keep(signed_up).unwrap_err()), expected);
    }

    let stored = flock.allowed("the email of a request id", Allowed::Surely(&[ACCOUNTS]));
    let first = sign_up_request(&stored.email(), &valid());
    fixture
        .keep(anonymous.account().sign_up(first.clone()).await)
        .unwrap();
    let mut other = first.clone();
    other.password = valid();
    let signed_up = anonymous.account().sign_up(other).await;
    assert_eq!(reason(&fixture.keep(signed_up).unwrap_err()), "REQUEST_ID_REUSED");
    let other = sign_up_request(&email(), &valid());
    let other = haven_proto::identity::v1::SignUpRequest {
        request_id: first.request_id,
        ..other
    };
    let signed_up = anonymous.account().sign_up(other).await;
    assert_eq!(reason(&fixture.keep(signed_up).unwrap_err()), "REQUEST_ID_REUSED");

    for (email, password) in [
        (fixture.person.email.clone(), valid()),
        (email(), fixture.person.password.clone()),
    ] {
        let request_id = random::uuid().to_string();
        let request = SignInRequest {
            email,
            password,
            request_id,
            ..SignInRequest::default()
        };
        let signed_in = anonymous.session().sign_in(request).await;
        assert_eq!(
            reason(&fixture.keep(signed_in).unwrap_err()),
            "CREDENTIALS_INVALID"
        );
    }
}

/// Sends well-formed messages that are refused.
pub(super) async fn messages(fixture: &Fixture) {
    let flock = &fixture.flock;
    let mut conversation = fixture.client(Caller::Person).conversation();
    let first = message(&flock.canary("a message"));
    fixture
        .keep(conversation.append_message(first.clone()).await)
        .unwrap();
    let mut other = message(&flock.canary("another message under its request id"));
    other.request_id = first.request_id;
    let appended = conversation.append_message(other).await;
    assert_eq!(reason(&fixture.keep(appended).unwrap_err()), "REQUEST_ID_REUSED");
    let mut other = message(&flock.canary("another message under its id"));
    other.message_id = fixture.message_id.clone();
    let appended = conversation.append_message(other).await;
    assert_eq!(reason(&fixture.keep(appended).unwrap_err()), "RECORD_EXISTS");
    let mut long = message(&flock.canary("a long message"));
    long.text = long.text.repeat(2_000);
    let appended = conversation.append_message(long).await;
    assert_eq!(reason(&fixture.keep(appended).unwrap_err()), "INVALID_FIELD");
    // The calls have no person's token.
    for client in [fixture.client(Caller::Anonymous), fixture.client(Caller::Service)] {
        let refused = message(&flock.canary("a message without a person"));
        let appended = client.conversation().append_message(refused).await;
        assert_eq!(reason(&fixture.keep(appended).unwrap_err()), "TOKEN_INVALID");
    }
}

/// Calls the health and reflection services, which may repeat a requested name to its caller and nowhere else.
pub(super) async fn standard_services(fixture: &Fixture) {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    for service in [&fixture.stack.identity, &fixture.stack.data] {
        let name = || fixture.flock.canary("the name of a service").word().to_owned();
        let client = fixture.client(Caller::Anonymous);
        let check = Request::new(HealthCheckRequest { service: name() });
        assert!(
            fixture
                .keep(client.health(service.name).check(check).await)
                .is_err()
        );
        let request = ServerReflectionRequest {
            host: name(),
            message_request: Some(MessageRequest::FileContainingSymbol(name())),
        };
        let mut reflection = ServerReflectionClient::new(client.connection(service.name));
        let answers = reflection
            .server_reflection_info(tokio_stream::iter([request]))
            .await;
        match answers {
            Ok(answers) => {
                let mut answers = answers.into_inner();
                while let Some(answer) = answers.message().await.transpose() {
                    let failed = answer.is_err();
                    let _ = fixture.keep(answer.map(|_| tonic::Response::new(())));
                    if failed {
                        break;
                    }
                }
            }
            Err(status) => drop(fixture.keep::<()>(Err(status))),
        }
    }
}
