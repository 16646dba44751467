//! The command line: its configuration, and services that do not answer.

use std::process::Command;

use haven_testkit::{Stack, binaries::Binaries};

use super::{person_with_message, reconcile, reconciled};

/// Runs `identity reconcile` without an environment. Returns the exit code and the output.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(Binaries::build().unwrap().of("identity"))
        .arg("reconcile")
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn everything_that_is_missing_is_reported_at_once() {
    let (code, text) = run(&[]);
    assert_eq!(code, Some(64), "{text}");
    for name in [
        "WORKER_DATABASE_URL",
        "TLS_CERT_FILE",
        "TLS_KEY_FILE",
        "TLS_CA_FILE",
    ] {
        assert!(text.contains(&format!("\n  {name}: ")), "{name}: {text}");
    }
    // The database alone suffices for the journals.
    let (code, text) = run(&["--without-data", "--erasures", "/nowhere"]);
    assert_eq!(code, Some(64));
    assert!(
        text.contains("WORKER_DATABASE_URL") && !text.contains("TLS_CERT_FILE"),
        "{text}"
    );
    for wrong in [
        &["--without-data"][..],
        &["--erase-orphans"],
        &["--max-orphans", "101"],
        &["--grace", "-1"],
        &["--erasures"],
    ] {
        let (code, text) = run(wrong);
        assert_eq!(code, Some(64), "{wrong:?}: {text}");
    }
    let (code, text) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for words in ["Exit codes", "erase-in-data", "ERASURE_JOURNAL", "--max-orphans"] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_or_refuses_is_an_error() {
    let mut stack = Stack::start().await.unwrap();
    person_with_message(&stack).await;
    reconciled(&stack, &[]).await;
    // Only listed services may list people.
    let certificate = stack.certificates.leaf("stranger");
    let allowed = stack.identity.variables.clone();
    for (name, file) in [
        ("TLS_CERT_FILE", &certificate.certificate),
        ("TLS_KEY_FILE", &certificate.key),
    ] {
        let file = file.to_str().unwrap().to_owned();
        stack.identity.variables.insert(name.to_owned(), file);
    }
    let refused = reconcile(&stack, &["--apply"]).await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("data refuses ListUsers: ACCESS_DENIED"),
        "{refused:?}"
    );

    stack.identity.variables = allowed;
    stack.data.kill();
    let down = reconcile(&stack, &["--apply"]).await;
    assert_eq!(down.code, 1);
    assert!(down.stderr.contains("data does not answer ListUsers"), "{down:?}");
}
