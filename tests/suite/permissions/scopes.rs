//! The matrix of scopes: each RPC that admits services, called with exactly its scope, and with all others.

use haven_platform::scopes::{self, Scope};
use haven_testkit::{Stack, service::Service};

use super::{fixture::Fixture, outcome};
use crate::{
    every_rpc::{rpcs, scope_of, server_of},
    status::{metadata, reason},
};

/// Returns the name of a service that has only `scope`.
fn only(scope: Scope) -> String {
    format!("only-{}", scopes::name(scope))
}

/// Returns the name of a service that has every scope but `scope`.
fn all_but(scope: Scope) -> String {
    format!("all-but-{}", scopes::name(scope))
}

/// Starts a stack that admits, for each scope, a service with only this scope, and one with all others.
async fn stack() -> Stack {
    let mut builder = Stack::builder();
    for scope in scopes::all() {
        let others = scopes::all().filter(|other| *other != scope).map(scopes::name);
        let others = others.collect::<Vec<_>>().join(",");
        for server in ["identity", "data"] {
            builder = builder
                .admit(server, format!("{}={}", only(scope), scopes::name(scope)))
                .admit(server, format!("{}={others}", all_but(scope)));
        }
    }
    builder.start().await.unwrap()
}

/// Returns the log of `service`.
fn log(service: &Service) -> String {
    std::fs::read_to_string(service.log()).unwrap()
}

#[tokio::test]
async fn a_service_needs_exactly_the_scope_that_the_rpc_declares() {
    let stack = stack().await;
    let (mut scoped, mut faults) = (0, Vec::new());
    for rpc in rpcs() {
        let Some(scope) = scope_of(&rpc) else { continue };
        scoped += 1;
        for name in [only(scope), all_but(scope)] {
            // Some calls use up or delete what they are about, so each call has a person of its own.
            let fixture = Fixture::of_new_person(&stack, &rpc).await;
            let client = stack.service(&name).unwrap();
            let Some(outcome) = outcome(&rpc, &client, true, &fixture).await else {
                faults.push(format!("{rpc}: add a request to `every_rpc`"));
                continue;
            };
            let found = match &outcome {
                Ok(()) => "OK".to_owned(),
                Err(status) => format!("{} {}", reason(status), metadata(status, "scope")),
            };
            let expected = match name == only(scope) {
                true => "OK".to_owned(),
                false => format!("ACCESS_DENIED {}", scopes::name(scope)),
            };
            if found != expected {
                faults.push(format!("{rpc} by {name}: {found} instead of {expected}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(scoped >= 18, "{scoped} RPCs declare a scope");
    // The log names the service and the scope that it lacks.
    for (service, lacks) in [
        (
            &stack.identity,
            "the service all-but-accounts lacks the scope `accounts`",
        ),
        (
            &stack.data,
            "the service all-but-provisioning lacks the scope `provisioning`",
        ),
    ] {
        assert!(log(service).contains(lacks), "{lacks}");
    }
}

/// The configuration of the test installation and of `cargo dev`.
#[tokio::test]
async fn a_service_of_the_installation_may_do_only_what_it_is_for() {
    let stack = Stack::shared().await.unwrap();
    let mut admitted = 0;
    for rpc in rpcs().iter().filter(|rpc| scope_of(rpc).is_some()) {
        let admitting = ["identity", "data", "backend", "worker", "stranger"].map(async |name| {
            let (client, path) = (stack.service(name).unwrap(), format!("/{rpc}"));
            let headers = crate::raw_call::headers(&[]);
            // An admitted call with an empty request fails for its fields, or lists.
            let answer = crate::every_rpc::call(&client, server_of(rpc), &path, headers, Vec::new());
            match tokio::time::timeout(std::time::Duration::from_secs(4), answer).await {
                Ok(Err(status)) if ["ACCESS_DENIED", "TOKEN_INVALID"].contains(&reason(&status).as_str()) => {
                    None
                }
                // A watch has no event yet.
                _ => Some(name),
            }
        });
        let admitting: Vec<_> = futures_util::future::join_all(admitting)
            .await
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(admitting, [crate::every_rpc::service_of(rpc)], "{rpc}");
        admitted += 1;
    }
    assert!(admitted > 0);
}
