//! The security checks of `check-database`, each on a server with the configuration of production that is broken in exactly
//! that way.

mod breakage;
mod breakages;
mod command;
mod server;

use std::collections::BTreeSet;

use self::{
    breakage::Breakage,
    server::{Run, Server},
};

/// The checks that no statement can break, with the place of their test.
const TESTED_ELSEWHERE: [&str; 4] = [
    // A unit test in checks/version.rs: the suite has only one server per major version.
    "minor-version",
    // Below, because they need more than statements.
    "data-checksums",
    "archiving",
    "backup-age",
];

/// Breaks the server in each way, and sees that exactly the check of this way fails, and that none does afterwards.
async fn each_fails(breakages: &[Breakage]) {
    let Some(mut server) = Server::take().await else {
        return;
    };
    let mut wrong = Vec::new();
    for breakage in breakages {
        let name = breakage.check;
        server.apply(&breakage.change).await;
        let failed = server.failures(breakage).await;
        server.revert(&breakage.change).await;
        let expected: BTreeSet<&str> = breakage.also.iter().copied().chain([name]).collect();
        if failed.keys().map(String::as_str).collect::<BTreeSet<_>>() != expected {
            wrong.push(format!("{name}: failed are {failed:#?}"));
        } else if !failed[name].iter().any(|object| object.contains(breakage.object)) {
            wrong.push(format!(
                "{name}: {} is not among {:?}",
                breakage.object, failed[name]
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    server.passes().await;
}

#[tokio::test]
async fn a_server_configured_as_in_production_passes_every_check() {
    let Some(server) = Server::take().await else {
        return;
    };
    server.passes().await;
}

#[tokio::test]
async fn each_check_of_row_security_fails_alone() {
    each_fails(breakages::ROW_SECURITY).await;
}

#[tokio::test]
async fn each_check_of_privileges_and_functions_fails_alone() {
    each_fails(breakages::PRIVILEGES).await;
}

#[tokio::test]
async fn each_check_of_roles_fails_alone() {
    each_fails(breakages::ROLES).await;
}

#[tokio::test]
async fn each_check_of_connections_fails_alone() {
    each_fails(breakages::CONNECTIONS).await;
}

#[tokio::test]
async fn each_check_of_the_log_and_of_statistics_fails_alone() {
    each_fails(breakages::LOGGING).await;
}

#[tokio::test]
async fn each_check_of_the_server_and_its_extensions_fails_alone() {
    each_fails(breakages::SERVER).await;
}

/// A check without a breakage might never fail.
#[tokio::test]
async fn every_check_has_a_breakage() {
    let Some(server) = Server::take().await else {
        return;
    };
    let mut checks = BTreeSet::new();
    for service in ["identity", "data"] {
        let findings = server.run(service, Run::default()).await.findings;
        let names: BTreeSet<String> = findings.iter().map(|finding| finding.check.clone()).collect();
        assert_eq!(names.len(), findings.len(), "each check has a name of its own");
        checks.extend(names);
    }
    let broken: BTreeSet<String> = breakages::all()
        .map(|breakage| breakage.check)
        .chain(TESTED_ELSEWHERE)
        .map(str::to_owned)
        .collect();
    assert_eq!(checks, broken);
    assert!(checks.len() >= 25, "{} checks", checks.len());
}
