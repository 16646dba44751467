//! Calls that fail, in every way that a caller can bring about, with canaries in all that they carry.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use haven_proto::{data::v1::ListMessagesRequest, identity::v1::SignInRequest};
use haven_testkit::{client::sign_up_request, random};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;

use super::{
    calls::Case,
    canary::Allowed,
    fixture::{ACCOUNTS, Guest, Who, World, message},
};
use crate::{
    raw_call::{field, headers},
    status::reason,
};

/// Each field of the call wrong, bytes that are no such message, too many of them, too little time.
pub(super) async fn requests(world: &World, case: &Case) {
    let send = |headers, body| world.send(case.service, case.who, &case.path, headers, body);
    let canary = |what: &str| world.flock.canary(&format!("{}: {what}", case.path));
    for body in case.with_each_text(|name| canary(name).text()) {
        let _ = send(headers(&[]), body).await;
    }
    let text = canary("no UTF-8").text();
    let cut = field(1, &[text.as_bytes(), &[0xff]].concat());
    let _ = send(headers(&[]), cut).await;
    let mut longer = field(1, canary("longer than it is").text().as_bytes());
    longer[1] = 0x7f;
    // Whoever signed out is not listened to any more.
    let (wrong, large_is) = match case.who {
        Who::Guest(Guest::SignsOut) => ("SESSION_REVOKED", "SESSION_REVOKED"),
        _ => ("INVALID_FIELD", "MESSAGE_TOO_LARGE"),
    };
    let status = send(headers(&[]), longer).await.unwrap_err();
    assert_eq!(reason(&status), wrong, "{}", case.path);
    let large = field(15, canary("too large").text().repeat(40_000).as_bytes());
    let status = send(headers(&[]), large).await.unwrap_err();
    assert_eq!(reason(&status), large_is, "{}", case.path);

    // The account may have been made by the time that nobody waits for it any more.
    let email = |_: &str| {
        let what = format!("{}: no time", case.path);
        world.flock.allowed(&what, Allowed::At(&[ACCOUNTS])).email()
    };
    for body in case.with_each_text(email) {
        for timeout in ["1n", "2m", "40m"] {
            let _ = send(headers(&[("grpc-timeout", timeout)]), body.clone()).await;
        }
    }
}

/// A canary in each header that something is done with, in the path and in the query, and as a token.
pub(super) async fn envelope(world: &World, case: &Case) {
    let canary = |what: &str| {
        world
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
        let _ = world
            .send(case.service, case.who, &case.path, headers, case.body.clone())
            .await;
    }
    let path = &case.path;
    for path in [
        format!("{path}{}", canary("method")),
        format!("/{}{path}", canary("package")),
        format!("{path}?password={}", canary("query")),
        format!("/{}", canary("path")),
    ] {
        let called = world
            .send(case.service, case.who, &path, headers(&[]), case.body.clone())
            .await;
        if !path.contains('?') {
            assert_eq!(called.unwrap_err().code(), Code::Unimplemented);
        }
    }
    for token in tokens(&|what| canary(what)) {
        let headers = headers(&[("authorization", &token)]);
        let called = world
            .send(case.service, Who::Nobody, path, headers, case.body.clone())
            .await;
        if matches!(case.who, Who::Person | Who::Guest(_)) {
            assert_eq!(reason(&called.unwrap_err()), "TOKEN_INVALID");
        }
    }
}

/// What is no access token, in every way.
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

/// The person's own token, spoilt: what is left of it is as private as the whole.
pub(super) async fn spoilt_token(world: &World) {
    let token = &world.person.token;
    let (rest, signature) = token.rsplit_once('.').unwrap();
    let swapped: String = signature.chars().rev().collect();
    world
        .flock
        .given("a spoilt signature", Allowed::Nowhere, &swapped);
    for token in [format!("{rest}.{swapped}"), rest.to_owned(), format!("{token}x")] {
        let client = world.stack.anonymous().unwrap().with_token(&token).unwrap();
        let listed = client
            .conversation()
            .list_messages(ListMessagesRequest::default())
            .await;
        assert_eq!(reason(&world.keep(listed).unwrap_err()), "TOKEN_INVALID");
    }
}

/// What is refused of a sign-up and of a sign-in that can be read.
pub(super) async fn accounts(world: &World) {
    let (nobody, flock) = (world.client(Who::Nobody), &world.flock);
    let email = || flock.canary("a refused email address").email();
    let password = |what: &str| flock.canary(what);
    let mut refused = Vec::new();
    // The policy: the address as the password, one that is too long, one that lacks nearly everything.
    let own = email();
    refused.push((sign_up_request(&own, &own), "PASSWORD_POLICY"));
    let long = password("a long password").password().repeat(10);
    refused.push((sign_up_request(&email(), &long), "PASSWORD_POLICY"));
    let weak = password("a weak password").word().to_owned();
    refused.push((sign_up_request(&email(), &weak), "PASSWORD_POLICY"));
    let good = || password("the password of a refused sign-up").password();
    for spoilt in ["_ ", "_@", "_\0", "\u{202e}_", "<_>"] {
        let address = spoilt.replace('_', &email());
        refused.push((sign_up_request(&address, &good()), "EMAIL_INVALID"));
    }
    let mut unwilling = sign_up_request(&email(), &good());
    unwilling.consents.clear();
    refused.push((unwilling, "CONSENT_REQUIRED"));
    refused.push((sign_up_request(&world.person.email, &good()), "EMAIL_TAKEN"));
    let capitals = world.person.email.to_uppercase();
    refused.push((sign_up_request(&capitals, &good()), "EMAIL_TAKEN"));
    for (request, expected) in refused {
        let signed_up = nobody.account().sign_up(request).await;
        assert_eq!(reason(&world.keep(signed_up).unwrap_err()), expected);
    }

    let kept = flock.allowed("the email of a request id", Allowed::Surely(&[ACCOUNTS]));
    let first = sign_up_request(&kept.email(), &good());
    world.keep(nobody.account().sign_up(first.clone()).await).unwrap();
    let mut other = first.clone();
    other.password = good();
    let signed_up = nobody.account().sign_up(other).await;
    assert_eq!(reason(&world.keep(signed_up).unwrap_err()), "REQUEST_ID_REUSED");
    let other = sign_up_request(&email(), &good());
    let other = haven_proto::identity::v1::SignUpRequest {
        request_id: first.request_id,
        ..other
    };
    let signed_up = nobody.account().sign_up(other).await;
    assert_eq!(reason(&world.keep(signed_up).unwrap_err()), "REQUEST_ID_REUSED");

    for (email, password) in [
        (world.person.email.clone(), good()),
        (email(), world.person.password.clone()),
    ] {
        let request_id = random::uuid().to_string();
        let request = SignInRequest {
            email,
            password,
            request_id,
        };
        let signed_in = nobody.session().sign_in(request).await;
        assert_eq!(reason(&world.keep(signed_in).unwrap_err()), "CREDENTIALS_INVALID");
    }
}

/// What is refused of a message that can be read.
pub(super) async fn messages(world: &World) {
    let flock = &world.flock;
    let mut conversation = world.client(Who::Person).conversation();
    let first = message(&flock.canary("a message"));
    world
        .keep(conversation.append_message(first.clone()).await)
        .unwrap();
    let mut other = message(&flock.canary("another message under its request id"));
    other.request_id = first.request_id;
    let appended = conversation.append_message(other).await;
    assert_eq!(reason(&world.keep(appended).unwrap_err()), "REQUEST_ID_REUSED");
    let mut other = message(&flock.canary("another message under its id"));
    other.message_id = world.message_id.clone();
    let appended = conversation.append_message(other).await;
    assert_eq!(reason(&world.keep(appended).unwrap_err()), "RECORD_EXISTS");
    let mut long = message(&flock.canary("a long message"));
    long.text = long.text.repeat(2_000);
    let appended = conversation.append_message(long).await;
    assert_eq!(reason(&world.keep(appended).unwrap_err()), "INVALID_FIELD");
    // Somebody else's, and nobody's.
    for client in [world.client(Who::Nobody), world.client(Who::Service)] {
        let refused = message(&flock.canary("a message of nobody"));
        let appended = client.conversation().append_message(refused).await;
        assert_eq!(reason(&world.keep(appended).unwrap_err()), "TOKEN_INVALID");
    }
}

/// The standard services: they repeat names to whoever asks for them, but must not do so to anybody else.
pub(super) async fn standard_services(world: &World) {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    for service in [&world.stack.identity, &world.stack.data] {
        let name = || world.flock.canary("the name of a service").word().to_owned();
        let client = world.client(Who::Nobody);
        let check = Request::new(HealthCheckRequest { service: name() });
        assert!(
            world
                .keep(client.health(service.name).check(check).await)
                .is_err()
        );
        let asked = ServerReflectionRequest {
            host: name(),
            message_request: Some(MessageRequest::FileContainingSymbol(name())),
        };
        let mut reflection = ServerReflectionClient::new(client.connection(service.name));
        let answers = reflection
            .server_reflection_info(tokio_stream::iter([asked]))
            .await;
        match answers {
            Ok(answers) => {
                let mut answers = answers.into_inner();
                while let Some(answer) = answers.message().await.transpose() {
                    let failed = answer.is_err();
                    let _ = world.keep(answer.map(|_| tonic::Response::new(())));
                    if failed {
                        break;
                    }
                }
            }
            Err(status) => drop(world.keep::<()>(Err(status))),
        }
    }
}
