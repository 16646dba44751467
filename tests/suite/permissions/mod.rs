//! The permission ratchet: every RPC of the descriptors, called by everybody; the outcomes are a snapshot.
//!
//! A new RPC fails this test until [`calls`] says how it is called, and its row is in the snapshot.

mod calls;

use haven_platform::reason::Reason;
use haven_testkit::Stack;
use prost_reflect::DescriptorPool;

use self::calls::{Belongings, call};
use crate::status::reason;

/// Every RPC of our own services, by its full name.
pub(crate) fn rpcs() -> Vec<String> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut rpcs: Vec<_> = pool
        .services()
        .flat_map(|service| {
            service
                .methods()
                .map(|rpc| (rpc, service.clone()))
                .collect::<Vec<_>>()
        })
        .map(|(rpc, service)| format!("{}/{}", service.full_name(), rpc.name()))
        .collect();
    rpcs.sort();
    assert!(!rpcs.is_empty());
    rpcs
}

/// Whether the RPC at `path` answers a stream.
pub(crate) fn streams(path: &str) -> bool {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    // Also with a query, which is none of the path.
    let path = path.split('?').next().unwrap_or_default();
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    let service = pool.get_service_by_name(service);
    let mut methods = service.iter().flat_map(|service| service.methods());
    methods.any(|found| found.name() == method && found.is_server_streaming())
}

#[tokio::test]
async fn who_may_call_what() {
    let stack = Stack::start().await.unwrap();
    let wrong = stack.person().await.unwrap();
    let callers = [
        "nobody",
        "the wrong person",
        "the right person",
        "a listed service",
        "an unlisted service",
    ];
    let (mut matrix, mut unknown) = (String::new(), Vec::new());
    for rpc in rpcs() {
        matrix += &format!("{rpc}\n");
        for name in callers {
            let belongings = Belongings::of_somebody(&stack, &rpc).await;
            let client = match name {
                "the wrong person" => stack.user(&wrong),
                "the right person" => stack.user(&belongings.person),
                "a listed service" => stack.service("backend"),
                "an unlisted service" => stack.service("stranger"),
                _ => stack.anonymous(),
            };
            match call(&rpc, &client.unwrap(), name.ends_with("service"), &belongings).await {
                Some(Ok(())) => matrix += &format!("  {name:<20} OK\n"),
                Some(Err(status)) => matrix += &format!("  {name:<20} {}\n", reason(&status)),
                None => unknown.push(rpc.clone()),
            }
        }
    }
    unknown.dedup();
    assert!(
        unknown.is_empty(),
        "say in `call` how these are called: {unknown:?}"
    );
    insta::assert_snapshot!(matrix);
}

/// Every reason that an RPC can fail with belongs to the published enum; this is the other direction of the contract.
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
            let shouted =
                |word: &&str| word.len() > 3 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            for name in errors
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .filter(shouted)
            {
                let known: Option<Reason> = haven_platform::reason::from_name(name);
                assert!(
                    known.is_some(),
                    "{}: {name} is no published reason",
                    rpc.full_name()
                );
            }
        }
    }
}
