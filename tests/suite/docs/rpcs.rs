//! The tables of `proto/README.md` against the contracts and the platform.

use std::{collections::BTreeSet, fs};

use anyhow::{Result, ensure};
use haven_platform::{
    reason::{self, Reason},
    scopes::{self, Scope},
};
use haven_proto::access::v1::Access;
use haven_testkit::{service_config::has_request_id, workspace};
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};

/// The header of the two tables of RPCs.
const RPC_HEADER: &str = "| service | RPC | access | scope | idempotent by | response | description |";

/// The header of the table of reasons.
const REASON_HEADER: &str = "| reason | code | meaning | retry |";

/// Returns the cells of every row below each `header` in `document`, without the backticks around a cell.
fn rows(document: &str, header: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut lines = document.lines();
    while lines.any(|line| line == header) {
        // The line below the header is a rule.
        let table = lines.by_ref().skip(1).take_while(|line| line.starts_with("| "));
        rows.extend(table.map(|line| {
            let cells = line.trim_matches(['|', ' ']).split(" | ");
            cells.map(|cell| cell.trim_matches('`').to_owned()).collect()
        }));
    }
    rows
}

/// Reads `proto/README.md`.
fn document() -> Result<String> {
    Ok(fs::read_to_string(workspace::root().join("proto/README.md"))?)
}

/// Returns all RPCs in the order of the contracts' files, with their services.
fn rpcs(pool: &DescriptorPool) -> Vec<(ServiceDescriptor, MethodDescriptor)> {
    let services = pool.services();
    let rpcs = services.flat_map(|service| {
        let methods: Vec<_> = service.methods().collect();
        methods.into_iter().map(move |method| (service.clone(), method))
    });
    rpcs.collect()
}

/// Returns the text of the column "access".
fn access(pool: &DescriptorPool, method: &MethodDescriptor) -> &'static str {
    let option = pool.get_extension_by_name("haven.access.v1.access").unwrap();
    let number = method.options().get_extension(&option).as_enum_number().unwrap();
    match Access::try_from(number).unwrap() {
        Access::Unspecified => "unspecified",
        Access::Anyone => "anyone",
        Access::User => "user",
        Access::Service => "service",
        Access::UserOrService => "user or service",
    }
}

/// Returns the text of the column "scope": none if the RPC admits no service as such.
fn scope(pool: &DescriptorPool, method: &MethodDescriptor) -> String {
    let option = pool.get_extension_by_name("haven.access.v1.scope").unwrap();
    let number = method.options().get_extension(&option).as_enum_number().unwrap();
    match Scope::try_from(number).unwrap() {
        Scope::Unspecified => "none".to_owned(),
        scope => scopes::name(scope),
    }
}

/// Returns the text of the column "response".
fn response(method: &MethodDescriptor) -> &'static str {
    match (method.is_server_streaming(), method.name().starts_with("Watch")) {
        (false, _) => "message",
        (true, false) => "stream",
        (true, true) => "watch",
    }
}

/// Returns the text of the column "retry" for `reason`.
fn retry(reason: Reason) -> String {
    match reason::retry_after(reason) {
        None => "no".to_owned(),
        Some(delay) if delay.subsec_millis() == 0 => format!("after {} s", delay.as_secs()),
        Some(delay) => format!("after {} ms", delay.as_millis()),
    }
}

#[test]
fn the_table_of_rpcs_lists_each_rpc_with_its_access_and_its_response() -> Result<()> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET)?;
    let mut expected: Vec<_> = rpcs(&pool)
        .iter()
        .map(|(service, method)| {
            [
                service.name().to_owned(),
                method.name().to_owned(),
                access(&pool, method).to_owned(),
                scope(&pool, method),
                response(method).to_owned(),
            ]
        })
        .collect();
    let mut documented = Vec::new();
    for row in rows(&document()?, RPC_HEADER) {
        ensure!(row.len() == 7, "a row of {} cells: {row:?}", row.len());
        ensure!(!row[6].is_empty(), "{} has no description", row[1]);
        documented.push([0, 1, 2, 3, 5].map(|cell| row[cell].clone()));
    }
    expected.sort();
    documented.sort();
    assert!(!expected.is_empty());
    assert_eq!(documented, expected);
    Ok(())
}

#[test]
fn the_table_of_rpcs_states_request_id_where_the_request_has_one() -> Result<()> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET)?;
    let rows = rows(&document()?, RPC_HEADER);
    for (service, method) in rpcs(&pool) {
        let row = rows
            .iter()
            .find(|row| row[0] == service.name() && row[1] == method.name());
        let documented = row.map(|row| row[4].as_str());
        match has_request_id(&method) {
            true => assert_eq!(documented, Some("request_id"), "{}", method.full_name()),
            false => assert!(
                matches!(documented, Some("naturally" | "refresh token" | "no")),
                "{}: {documented:?}",
                method.full_name()
            ),
        }
    }
    Ok(())
}

#[test]
fn the_table_of_reasons_lists_each_reason_with_its_code_and_its_delay() -> Result<()> {
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET)?;
    let reasons = pool.get_enum_by_name("haven.errors.v1.Reason").unwrap();
    let mut expected = Vec::new();
    for value in reasons.values().filter(|value| value.number() != 0) {
        let reason = Reason::try_from(value.number())?;
        let code = format!("{:?}", reason::code(reason)).to_lowercase();
        expected.push([reason::name(reason).to_owned(), code, retry(reason)]);
    }
    let mut documented = Vec::new();
    for row in rows(&document()?, REASON_HEADER) {
        ensure!(row.len() == 4, "a row of {} cells: {row:?}", row.len());
        documented.push([
            row[0].clone(),
            row[1].replace('_', "").to_lowercase(),
            row[3].clone(),
        ]);
    }
    assert!(!expected.is_empty());
    assert_eq!(documented, expected);
    Ok(())
}

#[test]
fn the_rpcs_without_consents_are_listed() -> Result<()> {
    let document = document()?;
    let pool = DescriptorPool::decode(haven_proto::FILE_DESCRIPTOR_SET)?;
    let option = pool
        .get_extension_by_name("haven.access.v1.without_consents")
        .unwrap();
    let exempt = rpcs(&pool)
        .into_iter()
        .map(|(_, method)| method)
        .filter(|method| {
            let value = method.options().get_extension(&option).as_bool();
            value.unwrap()
        });
    let exempt: BTreeSet<String> = exempt.map(|method| method.name().to_owned()).collect();
    let marker = "`(haven.access.v1.without_consents)`:";
    let (_, list) = document.split_once(marker).unwrap();
    let (list, _) = list.split_once('.').unwrap();
    let listed: BTreeSet<String> = list
        .split([',', ' ', '\n'])
        .filter(|word| !word.is_empty() && *word != "and")
        .map(str::to_owned)
        .collect();
    ensure!(
        listed == exempt,
        "the list after {marker} in proto/README.md must be {exempt:?}"
    );
    Ok(())
}
