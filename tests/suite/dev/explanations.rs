//! `--list`, `--describe` and `--complete`, which need no running installation.

use std::process::Command;

use haven_proto::access::v1::Access;
use haven_testkit::{binaries::Binaries, state::ROOT_VARIABLE};
use prost_reflect::{DescriptorPool, DynamicMessage};

use super::{announced::Printed, rpcs};

fn call(arguments: &[&str]) -> Printed {
    let nowhere = tempfile::tempdir().unwrap();
    let mut command = Command::new(Binaries::build().unwrap().dev);
    command
        .arg("call")
        .args(arguments)
        .env(ROOT_VARIABLE, nowhere.path());
    Printed::of(command.output().unwrap())
}

#[test]
fn every_rpc_is_listed_with_its_access_and_what_it_does() {
    let printed = call(&["--list"]);
    assert_eq!(printed.code, 0, "{}", printed.error);
    for rpc in rpcs::all() {
        let access = match rpcs::access(&rpc) {
            Access::Anyone => "anyone",
            Access::User => "user",
            Access::Service => "service",
            Access::UserOrService => "user or service",
            Access::Unspecified => panic!("{} declares no access", rpc.full_name()),
        };
        let service = format!("{}, answered by", rpc.parent_service().full_name());
        let section = printed.output.split(&service).nth(1).unwrap_or_default();
        let section = section.split("\n\n").next().unwrap_or_default();
        let line = section
            .lines()
            .find(|line| line.split_whitespace().next() == Some(rpc.name()));
        let line = line.unwrap_or_else(|| panic!("{} is not listed", rpc.full_name()));
        let rest = line.trim_start().strip_prefix(rpc.name()).unwrap().trim_start();
        let comment = rest
            .strip_prefix(access)
            .unwrap_or_else(|| panic!("not {access}: {line}"));
        assert!(
            comment.starts_with("  ") && comment.trim_end().ends_with('.'),
            "{line}"
        );
    }
    let of_one_service = call(&["--list", "share"]).output;
    assert!(of_one_service.contains("OpenShare") && !of_one_service.contains("SignUp"));
    call(&["--list", "ShareServices"]).failed(2, &["ShareService"]);
}

#[test]
fn every_rpc_is_described_with_an_example_that_is_a_request() {
    for rpc in rpcs::all() {
        let printed = call(&["--describe", &rpcs::name(&rpc)]);
        assert_eq!(printed.code, 0, "{}", printed.error);
        let (explanation, example) = printed.output.split_once("\nExample\n").unwrap();
        for field in rpc.input().fields().chain(rpc.output().fields()) {
            let declared = format!("\n  {}  ", field.name());
            assert!(
                explanation.contains(&declared),
                "{}: {}",
                rpc.full_name(),
                field.name()
            );
        }
        let json = example
            .split_once('\'')
            .map_or("{}", |(_, json)| json.trim_end().trim_end_matches('\''));
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let request = DynamicMessage::deserialize(rpc.input(), &mut deserializer);
        request.unwrap_or_else(|error| panic!("{}: {error}: {json}", rpc.full_name()));
        deserializer.end().unwrap();
    }
}

#[test]
fn messages_enums_and_services_are_described_too() {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET).unwrap();
    let message = call(&["--describe", "JobLease"]).output;
    assert!(message.contains("The secret of the lease"), "{message}");
    let goal = call(&["--describe", "goal"]).output;
    for value in pool.get_enum_by_name("haven.identity.v1.Goal").unwrap().values() {
        assert!(goal.contains(value.name()), "{goal}");
    }
    let service = call(&["--describe", "AnalysisQueueService"]).output;
    assert!(
        service.contains("The queue from which workers take analysis jobs") && service.contains("FailJob")
    );
    call(&["--describe", "JobLeese"]).failed(2, &["JobLeese"]);
}

#[test]
fn names_are_completed() {
    let printed = call(&["--complete", "AppendM"]);
    assert_eq!(printed.output, "AppendMessage\n");
    let printed = call(&["--complete", "sharese"]).output;
    assert!(
        printed.lines().any(|line| line == "ShareService/OpenShare"),
        "{printed}"
    );
}

#[test]
fn without_an_installation_a_call_says_how_to_start_one() {
    call(&["SignUp"]).failed(1, &["Haven is not running: start it with `cargo dev`"]);
}
