//! The command line and the environment of both programs.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Output},
};

use haven_testkit::{binaries::Binaries, workspace};

/// Runs `service` with nothing in its environment but `variables`.
fn run(service: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let binaries = Binaries::build().unwrap();
    Command::new(binaries.of(service))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn everything_that_is_missing_is_reported_at_once() {
    for (service, own) in [
        ("identity", ["PEPPERS", "SIGNING_KEY_FILES"]),
        ("data", ["MESSAGE_KEYS", "SECRET_KEY"]),
    ] {
        for command in ["check-config", "serve"] {
            let output = run(service, &[command], &[]);
            assert_eq!(output.status.code(), Some(64), "{service} {command}");
            let said = error(&output);
            let common = [
                "TLS_CERT_FILE",
                "TLS_KEY_FILE",
                "TLS_CA_FILE",
                "DATABASE_URL",
                "WORKER_DATABASE_URL",
                "SECRET_KEY",
            ];
            for name in common.iter().chain(&own) {
                assert!(
                    said.contains(&format!("\n  {name}: ")),
                    "{service} {command}: {name} is not in {said}"
                );
            }
        }
    }
}

#[test]
fn everything_that_is_wrong_is_reported_at_once_and_no_secret_is_shown() {
    let variables = [
        ("ENVIRONMENT", "canary-environment"),
        ("API_ADDR", "nowhere"),
        ("AUTH_MODE", "trust"),
        ("TLS_CERT_FILE", "/no/such/file"),
        ("DATABASE_URL", "mysql://canary-secret@host"),
        ("WORKER_DATABASE_URL_FILE", "/no/such/file"),
        ("DATABASE_POOL_SIZE", "many"),
        ("DATABASE_POOLER", "none"),
        ("DEFAULT_DEADLINE", "soon"),
        ("MAX_IN_FLIGHT", "0"),
        ("MAX_REQUEST_BYTES", "-1"),
        ("DRAIN_TIMEOUT", "1h"),
        ("SECRET_KEY", "canary-secret"),
        ("LOG_FORMAT", "xml"),
        ("LOG_FILTER", "canary=loud"),
        (
            "TRUSTED_ISSUERS",
            "https://abc.example/auth/v1=hs256:canary-secret",
        ),
        ("MESSAGE_KEYS", "k1:canary-secret"),
        ("IDENTITY_URL", "http://localhost:1"),
    ];
    let output = run("data", &["check-config"], &variables);
    assert_eq!(output.status.code(), Some(64));
    let said = error(&output);
    for (name, _) in variables {
        assert!(said.contains(&format!("\n  {name}: ")), "{name} is not in {said}");
    }
    assert!(!said.contains("canary-secret"), "{said}");
}

#[test]
fn a_secret_is_set_once() {
    let variables = [("SECRET_KEY", "a"), ("SECRET_KEY_FILE", "b")];
    let said = error(&run("identity", &["check-config"], &variables));
    assert!(
        said.contains("SECRET_KEY: is set, and so is SECRET_KEY_FILE"),
        "{said}"
    );
}

#[test]
fn an_unknown_flag_is_a_wrong_configuration() {
    assert_eq!(
        run("identity", &["serve", "--no-such-flag"], &[]).status.code(),
        Some(64)
    );
    assert_eq!(run("identity", &["--help"], &[]).status.code(), Some(0));
}

/// `--help` and the README name the same variables, and `--help` shows no value of a secret.
#[test]
fn the_readme_documents_every_variable() {
    let readme = fs::read_to_string(workspace::root().join("README.md")).unwrap();
    let mut helped = BTreeSet::new();
    for service in ["identity", "data"] {
        for command in ["serve", "migrate"] {
            let output = run(
                service,
                &[command, "--help"],
                &[("SECRET_KEY", "canary"), ("PEPPERS", "canary")],
            );
            // Wrapped to the width of a terminal.
            let help = String::from_utf8(output.stdout)
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            assert!(!help.contains("canary"), "{help}");
            let named = help
                .split("[env: ")
                .skip(1)
                .filter_map(|rest| rest.split(['=', ']']).next());
            helped.extend(named.map(ToOwned::to_owned));
        }
    }
    assert!(helped.len() > 20, "{helped:?}");
    let row = |name: &str| readme.contains(&format!("| `{name}`"));
    let missing: Vec<_> = helped
        .iter()
        .filter(|name| !row(name) && !row(name.trim_end_matches("_FILE")))
        .collect();
    assert!(missing.is_empty(), "not in the README's tables: {missing:?}");
    let documented = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let gone: Vec<_> = documented
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_') && !helped.contains(*name))
        .collect();
    assert!(gone.is_empty(), "in the README, but no variable: {gone:?}");
}
