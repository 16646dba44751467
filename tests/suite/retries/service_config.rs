//! The service config: that it is fresh, and that it retries what can be repeated and nothing else.

use std::{collections::BTreeSet, fs};

use haven_platform::reason::{self, RETRIED, Reason};
use haven_testkit::{
    retry::config::{MethodConfig, ServiceConfig},
    service_config,
};
use prost_reflect::DescriptorPool;

/// RPCs of which each call has an effect, and the one whose request is only for ten seconds the same.
const NOT_RETRIED: [&str; 4] = [
    "haven.data.v1.PersonService/ExportData",
    "haven.data.v1.ShareService/OpenShare",
    "haven.identity.v1.AccountService/ExportAccount",
    "haven.identity.v1.SessionService/RefreshSession",
];

fn published() -> ServiceConfig {
    ServiceConfig::read(&service_config::path()).unwrap()
}

/// Returns the full names of the RPCs that `rules` are for.
fn names(rules: &MethodConfig) -> impl Iterator<Item = String> {
    rules
        .name
        .iter()
        .map(|name| format!("{}/{}", name.service, name.method))
}

#[test]
fn the_file_is_that_of_the_protos() {
    let published = fs::read_to_string(service_config::path()).unwrap();
    assert_eq!(
        published,
        service_config::text().unwrap(),
        "run `cargo dev service-config`, and commit the result"
    );
}

#[test]
fn every_rpc_has_one_rule_and_all_but_four_are_retried() {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let rpcs: BTreeSet<String> = pool
        .services()
        .flat_map(|service| {
            let rpcs = service
                .methods()
                .map(|rpc| format!("{}/{}", service.full_name(), rpc.name()));
            rpcs.collect::<Vec<_>>()
        })
        .collect();
    let config = published();
    // Reading the file has checked that no name is there twice.
    let configured: BTreeSet<String> = config.method_config.iter().flat_map(names).collect();
    assert_eq!(configured, rpcs);
    let unrepeatable = config
        .method_config
        .iter()
        .filter(|rules| rules.retry_policy.is_none());
    let unrepeatable: BTreeSet<String> = unrepeatable.flat_map(names).collect();
    assert_eq!(unrepeatable, NOT_RETRIED.map(str::to_owned).into());
}

#[test]
fn the_retried_codes_are_those_of_failures_that_a_retry_can_help() {
    let config = published();
    let policies: Vec<_> = config
        .method_config
        .iter()
        .filter_map(|rules| rules.retry_policy.as_ref())
        .collect();
    assert!(!policies.is_empty());
    for policy in policies {
        let codes: Vec<_> = policy.retryable_status_codes.iter().map(|code| code.0).collect();
        assert_eq!(codes, RETRIED);
    }
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let reasons = pool.get_enum_by_name("haven.errors.v1.Reason").unwrap();
    let helped = reasons
        .values()
        .map(|value| Reason::try_from(value.number()).unwrap())
        .filter(|reason| reason::retry_after(*reason).is_some())
        // Callers that create accounts wait for these by themselves; see service_config.rs.
        .filter(|reason| *reason != Reason::AccountNotReady);
    let codes: BTreeSet<i32> = helped.map(|reason| reason::code(reason).into()).collect();
    assert_eq!(codes, RETRIED.map(i32::from).into());
}

#[test]
fn a_config_that_grpc_libraries_refuse_is_refused() {
    let published = fs::read_to_string(service_config::path()).unwrap();
    for (from, to, expected) in [
        (
            "\"maxAttempts\": 5",
            "\"maxAttempts\": 6",
            "maxAttempts must be from 2 to 5",
        ),
        ("\"maxTokens\": 1000", "\"maxTokens\": 1001", "from 1 to 1000"),
        (
            "\"initialBackoff\": \"0.1s\"",
            "\"initialBackoff\": \"0.1\"",
            "seconds with the unit s",
        ),
        (
            "\"UNAVAILABLE\"",
            "\"UNREACHABLE\"",
            "UNREACHABLE is not a gRPC status code",
        ),
    ] {
        assert!(published.contains(from), "{from}");
        let refusal = ServiceConfig::parse(&published.replace(from, to)).unwrap_err();
        let refusal = format!("{refusal:#}");
        assert!(refusal.contains(expected), "{to}: {refusal}");
    }
    let twice = published.replace("\"method\": \"SignOut\"", "\"method\": \"SignIn\"");
    let error = format!("{:#}", ServiceConfig::parse(&twice).unwrap_err());
    assert!(error.contains("in one methodConfig only"), "{error}");
}
