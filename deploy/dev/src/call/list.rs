//! `--list` and `--complete`: the names of RPCs.

use std::collections::BTreeSet;

use anyhow::Result;

use super::{
    contracts::{Contracts, Rpc, first_sentence},
    names::{is_suffix, plain, unknown},
};

/// The types of messages and enums that are no part of the contract.
const FOREIGN: [&str; 2] = ["google.", "grpc.reflection."];

/// Prints the RPCs of the gRPC service `service`, or of all, with their access and what they do.
pub(super) fn print(contracts: &Contracts, service: Option<&str>) -> Result<()> {
    let rpcs = contracts.rpcs();
    let is_listed = |rpc: &&Rpc| match service {
        None => true,
        Some(wanted) => {
            let name = plain(rpc.method.parent_service().full_name());
            rpc.server == Some(wanted) || is_suffix(&name, &plain(wanted))
        }
    };
    let listed: Vec<&Rpc> = rpcs.iter().filter(is_listed).collect();
    if let Some(wanted) = service.filter(|_| listed.is_empty()) {
        let services = contracts.pool().services();
        let names = services.map(|service| service.name().to_owned());
        return Err(unknown("gRPC service", wanted, names, "cargo dev call --list"));
    }
    let width = listed
        .iter()
        .map(|rpc| rpc.method.name().len())
        .max()
        .unwrap_or_default();
    let mut last = String::new();
    for rpc in listed {
        let service = rpc.method.parent_service().full_name().to_owned();
        if service != last {
            let gap = if last.is_empty() { "" } else { "\n" };
            println!(
                "{gap}{service}, answered by {}",
                rpc.server.unwrap_or("both services")
            );
            last = service;
        }
        println!(
            "  {:<width$}  {:<15}  {}",
            rpc.method.name(),
            rpc.access_words(),
            first_sentence(&rpc.comment())
        );
    }
    Ok(())
}

/// Prints the names that begin with `prefix`, one a line: what `cargo dev call` and `--describe` accept.
pub(super) fn complete(contracts: &Contracts, prefix: &str) -> Result<()> {
    let mut names = BTreeSet::new();
    for rpc in contracts.rpcs() {
        names.extend([rpc.method.name().to_owned(), rpc.name(), rpc.full_name()]);
    }
    for message in contracts.pool().all_messages() {
        names.insert(message.full_name().to_owned());
    }
    for found in contracts.pool().all_enums() {
        names.insert(found.full_name().to_owned());
    }
    let is_own = |name: &&String| !FOREIGN.iter().any(|foreign| name.starts_with(foreign));
    let begins = |name: &&String| name.to_lowercase().starts_with(&prefix.to_lowercase());
    for name in names.iter().filter(is_own).filter(begins) {
        println!("{name}");
    }
    Ok(())
}
