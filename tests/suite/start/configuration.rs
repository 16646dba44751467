//! Command line and environment of both programs.

use std::{
    collections::BTreeSet,
    process::{Command, Output},
};

use haven_testkit::binaries::Binaries;

/// Runs `service` with only `variables` in its environment.
fn run(service: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let binaries = Binaries::build().unwrap();
    Command::new(binaries.of(service))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// Returns the standard error.
fn error(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn all_missing_variables_are_reported_at_once() {
    for (service, own) in [
        ("identity", ["PEPPERS", "SIGNING_KEY_FILES"]),
        ("data", ["MESSAGE_KEYS", "SECRET_KEY"]),
    ] {
        for command in ["check-config", "serve"] {
            let output = run(service, &[command], &[]);
            assert_eq!(output.status.code(), Some(64), "{service} {command}");
            let stderr = error(&output);
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
                    stderr.contains(&format!("\n  {name}: ")),
                    "{service} {command}: {name} is not in {stderr}"
                );
            }
        }
    }
}

#[test]
fn all_invalid_variables_are_reported_at_once_without_secrets() {
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
        ("ALLOWED_SERVICES", "identity,backend;worker=analysis,analyses"),
        ("TRUSTED_PROXIES", "proxy.example.org, 0.0.0.0/0"),
        (
            "WEB_ORIGINS",
            "app.example.org, *, null, http://app.example.org, https://app.example.org/, https://app.example.org:443",
        ),
    ];
    let output = run("data", &["check-config"], &variables);
    assert_eq!(output.status.code(), Some(64));
    let stderr = error(&output);
    for (name, _) in variables {
        assert!(
            stderr.contains(&format!("\n  {name}: ")),
            "{name} is not in {stderr}"
        );
    }
    assert!(!stderr.contains("canary-secret"), "{stderr}");
    for problem in [
        "must be NAME=SCOPE[,SCOPE…], such as backend=accounts,forward, and \"identity,backend\" is not",
        "\"analyses\", given to \"worker\", is not a scope: the scopes are provisioning, analysis",
        "must be an address or a network, such as 192.0.2.10, 10.1.0.0/16 or 2001:db8:1::/48, and \"proxy.example.org\" is not",
        "0.0.0.0/0 is too large, and a network must have at least 8 bits",
        "WEB_ORIGINS: each entry, separated by `,`, must be the origin of a page as browsers send it",
        "WEB_ORIGINS: * would admit the pages of others: list each origin",
        "WEB_ORIGINS: null would admit the pages of others: list each origin",
        "WEB_ORIGINS: http://app.example.org is without TLS",
        "WEB_ORIGINS: https://app.example.org/ has a path, and an origin has none: write https://app.example.org",
        "WEB_ORIGINS: https://app.example.org:443 has the default port, which browsers leave out: write https://app.example.org",
    ] {
        assert!(stderr.contains(problem), "{problem} is not in {stderr}");
    }
}

#[test]
fn a_secret_set_twice_is_refused() {
    let variables = [("SECRET_KEY", "a"), ("SECRET_KEY_FILE", "b")];
    let stderr = error(&run("identity", &["check-config"], &variables));
    assert!(
        stderr.contains("SECRET_KEY: is set, and so is SECRET_KEY_FILE"),
        "{stderr}"
    );
}

#[test]
fn an_unknown_flag_exits_with_64() {
    assert_eq!(
        run("identity", &["serve", "--no-such-flag"], &[]).status.code(),
        Some(64)
    );
    assert_eq!(run("identity", &["--help"], &[]).status.code(), Some(0));
}

/// The page that documents the variables is compared with `--help` in `docs`.
#[test]
fn help_names_every_variable_and_shows_no_value_of_a_secret() {
    let mut names = BTreeSet::new();
    for service in ["identity", "data"] {
        for command in ["serve", "migrate"] {
            let output = run(
                service,
                &[command, "--help"],
                &[("SECRET_KEY", "canary"), ("PEPPERS", "canary")],
            );
            // The help is wrapped to the width of a terminal.
            let help = String::from_utf8(output.stdout)
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ");
            assert!(!help.contains("canary"), "{help}");
            let variables = help
                .split("[env: ")
                .skip(1)
                .filter_map(|rest| rest.split(['=', ']']).next());
            names.extend(variables.map(ToOwned::to_owned));
        }
    }
    assert!(names.len() > 20, "{names:?}");
}
