//! The permission ratchet: each RPC of the descriptors is called by each kind of caller, and the outcomes are a
//! snapshot. Consents are enforced. The caller `without consents` is the right person, whose token states that a required
//! consent is missing.
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
    every_rpc::{self, call, rpcs, server_of},
    raw_call::headers,
    status::reason,
};

#[tokio::test]
async fn who_may_call_what() {
    let stack = Stack::builder()
        .variable("identity", "CONSENT_ENFORCEMENT", "on")
        .variable("data", "CONSENT_ENFORCEMENT", "on")
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
    let path = format!("/{rpc}");
    let answer = call(client, server_of(rpc), &path, headers(&[]), body).await;
    Some(answer.map(drop))
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
