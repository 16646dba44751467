//! The same on a server with the configuration files of production: its log has the audit log, and no error of a service.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use haven_testkit::installation::Installation;

use super::{assert_no_leaks, calls, fixture::Fixture};
use crate::{eventually::eventually, packages, raw_call::headers};

/// What the audit log says about the calls of each RPC, other RPCs leaving nothing in it. A SELECT is a row lock.
const AUDITED: [(&str, &[&str]); 14] = [
    (
        "AccountService/ChangePassword",
        &["identity_app UPDATE identity.users"],
    ),
    (
        "AccountService/DeleteAccount",
        &[
            "identity_app SELECT identity.users",
            "identity_worker UPDATE identity.erasures",
        ],
    ),
    (
        "AccountService/ExportAccount",
        &["identity_app SELECT identity.users"],
    ),
    (
        "AccountService/GrantConsent",
        &["identity_app SELECT identity.users"],
    ),
    (
        "AccountService/WithdrawConsent",
        &["identity_app SELECT identity.users"],
    ),
    (
        "DeviceService/RegisterDevice",
        &["data_app INSERT data.device_key"],
    ),
    ("DeviceService/RevokeDevice", &["data_app UPDATE data.device_key"]),
    (
        "DeviceService/RotateDeviceKey",
        &["data_app UPDATE data.device_key"],
    ),
    (
        "DeviceService/SuspendDevice",
        &["data_app UPDATE data.device_key"],
    ),
    (
        "SessionService/RefreshSession",
        &["identity_app SELECT identity.users"],
    ),
    (
        "SessionService/RevokeSession",
        &["identity_app SELECT identity.users"],
    ),
    ("SessionService/SignOut", &["identity_app SELECT identity.users"]),
    (
        "ShareService/CreateShare",
        &["data_app INSERT data.healthcare_share"],
    ),
    (
        "ShareService/RevokeShare",
        &["data_app UPDATE data.healthcare_share"],
    ),
];

fn installation() -> Option<Installation> {
    packages::or_skip(&["postgresql-15-pgaudit"], Installation::with_audit())
}

#[tokio::test]
async fn private_values_do_not_leak_in_production() {
    let Some(installation) = installation() else {
        return;
    };
    let fixture = Fixture::start_in_production(installation).await;
    assert_no_leaks(fixture).await;
}

#[tokio::test]
async fn rare_and_sensitive_calls_are_in_the_audit_log_and_no_others() {
    let Some(installation) = installation() else {
        return;
    };
    let fixture = Fixture::start_in_production(installation).await;
    let log = || fs::read_to_string(&fixture.postgres_log.0).unwrap();
    let expected: BTreeMap<&str, BTreeSet<String>> = AUDITED
        .iter()
        .map(|(rpc, lines)| (*rpc, lines.iter().map(ToString::to_string).collect()))
        .collect();
    let mut audited = BTreeMap::new();
    let (mut calls, mut bytes) = (0, 0);
    for case in calls::cases(&fixture) {
        let before = log().len();
        let sent = fixture.send(
            case.server,
            case.caller,
            &case.path,
            headers(&[]),
            case.body.clone(),
        );
        sent.await
            .unwrap_or_else(|status| panic!("{}: {status:?}", case.path));
        let rpc = case.path.rsplit('.').next().unwrap();
        let lines = || audit_lines(&log()[before..]);
        if let Some(expected) = expected.get(rpc) {
            // data confirms the erasure of a deleted account after the answer.
            eventually(&format!("{rpc} leaves {expected:?}"), async || {
                lines().is_superset(expected)
            })
            .await;
        }
        if !lines().is_empty() {
            audited.insert(rpc.to_owned(), lines());
        }
        (calls, bytes) = (calls + 1, bytes + log()[before..].len());
    }
    println!("{calls} calls, one of each RPC, wrote {bytes} bytes to Postgres's log");
    let expected: BTreeMap<String, _> = expected
        .into_iter()
        .map(|(rpc, lines)| (rpc.to_owned(), lines))
        .collect();
    assert_eq!(audited, expected);
}

/// Returns the login, the command and the table of each line of the audit log that a service's session wrote. Panics at one
/// with a statement or a parameter.
fn audit_lines(log: &str) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for line in log.lines() {
        let Some((prefix, entry)) = line.split_once("AUDIT: ") else {
            continue;
        };
        let login = prefix.split(' ').find_map(|word| word.strip_suffix("@haven"));
        let Some(login) = login.filter(|login| login.ends_with("_app") || login.ends_with("_worker")) else {
            continue;
        };
        let fields: Vec<_> = entry.split(',').collect();
        let [
            "OBJECT",
            _,
            _,
            "READ" | "WRITE",
            command,
            "TABLE",
            table,
            "<not logged>",
            "<not logged>",
        ] = fields[..]
        else {
            panic!("not a line without its statement: {line}");
        };
        lines.insert(format!("{login} {command} {table}"));
    }
    lines
}
