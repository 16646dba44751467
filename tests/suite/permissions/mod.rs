//! The permission ratchet: each RPC of the descriptors is called by each kind of caller, and the outcomes are a
//! snapshot. Consents are enforced. The caller `without consents` is the right person, whose token states that a required
//! consent is missing. A browser calls in gRPC-Web from a listed origin, and `a service's browser` with the certificate of the
//! service that may call the RPC; `NOT_SERVED` is the answer to what is not served to browsers.
//!
//! A new RPC fails this test until [`every_rpc`] has a request for it, and its outcomes are in the snapshot.

pub(crate) mod fixture;
mod scopes;

use haven_platform::reason::Reason;
use haven_proto::identity::v1::DeleteAccountRequest;
use haven_testkit::{Client, Stack, random};
use prost_reflect::DescriptorPool;
use tonic::Status;

use self::fixture::Fixture;
use crate::{
    browser::{Browser, Frame, Http, ORIGIN},
    every_rpc::{self, call, rpcs, server_of},
    raw_call::headers,
    status::reason,
};

#[tokio::test]
async fn who_may_call_what() {
    let stack = Stack::builder()
        .variable("identity", "CONSENT_ENFORCEMENT", "on")
        .variable("data", "CONSENT_ENFORCEMENT", "on")
        .web_origins(ORIGIN)
        .start()
        .await
        .unwrap();
    let wrong = stack.person().await.unwrap();
    let callers = [
        "nobody",
        "the wrong person",
        "the right person",
        "without consents",
        "a listed service",
        "an unlisted service",
        "a browser",
        "a person's browser",
        "a service's browser",
    ];
    let (mut matrix, mut undescribed) = (String::new(), Vec::new());
    for rpc in rpcs() {
        matrix += &format!("{rpc}\n");
        for name in callers {
            // Some calls use up or delete what they are about, so each call has a person of its own.
            let mut fixture = Fixture::of_new_person(&stack, &rpc).await;
            if name == "without consents" {
                fixture.withdraw_consents(&stack).await;
            }
            if name.ends_with("browser") {
                match browser_outcome(&rpc, &stack, name, &fixture).await {
                    Some(outcome) => matrix += &format!("  {name:<20} {outcome}\n"),
                    None => undescribed.push(rpc.clone()),
                }
                continue;
            }
            let client = match name {
                "the wrong person" => stack.user(&wrong),
                "the right person" | "without consents" => stack.user(&fixture.person),
                "a listed service" => stack.service(every_rpc::service_of(&rpc)),
                "an unlisted service" => stack.service("stranger"),
                _ => stack.anonymous(),
            };
            match outcome(&rpc, &client.unwrap(), name.ends_with("service"), &fixture).await {
                Some(Ok(())) => matrix += &format!("  {name:<20} OK\n"),
                Some(Err(status)) => matrix += &format!("  {name:<20} {}\n", reason(&status)),
                None => undescribed.push(rpc.clone()),
            }
        }
    }
    undescribed.dedup();
    assert!(
        undescribed.is_empty(),
        "add requests to `every_rpc` for: {undescribed:?}"
    );
    insta::assert_snapshot!(matrix);
}

/// Calls `rpc` about the person of `fixture`. `None` when `every_rpc` has no request for it.
async fn outcome(
    rpc: &str,
    client: &Client,
    as_service: bool,
    fixture: &Fixture,
) -> Option<Result<(), Status>> {
    let body = request(rpc, client, as_service, fixture).await?;
    let path = format!("/{rpc}");
    let answer = call(client, server_of(rpc), &path, headers(&[]), body).await;
    Some(answer.map(drop))
}

/// Calls `rpc` in gRPC-Web about the person of `fixture`. `name` is the kind of browser. `None` when `every_rpc` has no request for
/// it.
async fn browser_outcome(rpc: &str, stack: &Stack, name: &str, fixture: &Fixture) -> Option<String> {
    let listeners = match server_of(rpc) {
        "identity" => stack.identity.listeners,
        _ => stack.data.listeners,
    };
    let mut browser = Browser::new(&stack.certificates, listeners.api, Http::Two);
    let (token, mut headers) = (format!("Bearer {}", fixture.person.token), Vec::new());
    let client = match name {
        "a person's browser" => {
            headers.push(("authorization", token.as_str()));
            stack.user(&fixture.person)
        }
        "a service's browser" => {
            browser.certificate = Some(every_rpc::service_of(rpc));
            stack.service(every_rpc::service_of(rpc))
        }
        _ => stack.anonymous(),
    };
    let body = request(rpc, &client.unwrap(), name == "a service's browser", fixture).await?;
    let mut answer = browser.open(&format!("/{rpc}"), &headers, &body).await;
    if answer.head.status == http::StatusCode::UNSUPPORTED_MEDIA_TYPE {
        return Some("NOT_SERVED".to_owned());
    }
    let status = match answer.next().await {
        Some(Frame::Message(_)) => return Some("OK".to_owned()),
        Some(Frame::Trailers(trailers)) => Status::from_header_map(&trailers),
        None => Status::from_header_map(&answer.head.headers),
    };
    Some(match status.unwrap() {
        status if status.code() == tonic::Code::Ok => "OK".to_owned(),
        status => reason(&status),
    })
}

/// Returns a request of `rpc` about the person of `fixture`. `None` when `every_rpc` has none for it.
async fn request(rpc: &str, client: &Client, as_service: bool, fixture: &Fixture) -> Option<Vec<u8>> {
    let body = every_rpc::request(rpc, &fixture.subject(as_service))?;
    if rpc.ends_with("/GetDeletion") {
        // A caller that may request a deletion finds one.
        let request = DeleteAccountRequest {
            user_id: fixture.person.id.to_string(),
            password: String::new(),
            request_id: random::uuid().to_string(),
        };
        let _ = client.account().delete_account(request).await;
    }
    Some(body)
}

/// Each reason in the `Errors:` part of an RPC's comment is a value of the published enum.
#[test]
fn every_rpc_documents_its_errors_by_published_reasons() {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    for service in pool.services() {
        let file = service.parent_file();
        let info = file.file_descriptor_proto().source_code_info.as_ref().unwrap();
        for rpc in service.methods() {
            let location = info
                .location
                .iter()
                .find(|location| location.path == rpc.path())
                .unwrap();
            let Some((_, errors)) = location.leading_comments().split_once("Errors:") else {
                continue;
            };
            let in_capitals =
                |word: &&str| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            for name in errors
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .filter(in_capitals)
            {
                let published: Option<Reason> = haven_platform::reason::from_name(name);
                assert!(
                    published.is_some(),
                    "{}: {name} is not a published reason",
                    rpc.full_name()
                );
            }
        }
    }
}
