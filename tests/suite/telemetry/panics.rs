//! Panics are logged with their location and without their message, which may contain personal data.

use std::{
    env,
    process::{self, Command},
    thread,
};

use haven_platform::{
    config::{LogFormat, Telemetry},
    telemetry,
};

use crate::leaks::canary::{Allowed, Flock, Haystack};

/// Environment variable with the panic message for the child process.
const MESSAGE: &str = "HAVEN_TEST_PANIC";

#[test]
fn a_panic_is_logged_without_its_message() {
    let flock = Flock::default();
    let canary = flock.canary("a panic's message");
    // Runs in a child process, because telemetry and the panic hook are global to a process. /proc/self/exe is this binary
    // also when the next build has already replaced its file.
    let child = Command::new("/proc/self/exe")
        .args([
            "--exact",
            "telemetry::panics::panicking",
            "--ignored",
            "--nocapture",
        ])
        .env(MESSAGE, canary.text())
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
    let output = format!(
        "{}{}",
        String::from_utf8_lossy(&child.stdout),
        String::from_utf8_lossy(&child.stderr)
    );
    let lines: Vec<serde_json::Value> = output
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let line = lines
        .iter()
        .find(|line| line["message"] == "panicked")
        .expect(&output);
    assert_eq!(line["level"], "ERROR");
    assert!(
        line["place"]
            .as_str()
            .is_some_and(|location| location.contains("panics.rs:")),
        "{line}"
    );
    let location = flock.given(
        "the location of the panic",
        Allowed::Nowhere,
        line["place"].as_str().unwrap(),
    );
    let output = Haystack::new(output);
    assert!(location.found(&output).is_some());
    assert_eq!(canary.found(&output), None);
}

#[test]
#[ignore = "panics; started by the test above in a child process"]
fn panicking() {
    let Ok(message) = env::var(MESSAGE) else {
        return;
    };
    let telemetry = Telemetry {
        format: LogFormat::Json,
        filter: "trace".to_owned(),
        otlp_endpoint: None,
    };
    let _guard = telemetry::start(&telemetry, "testing").unwrap();
    thread::spawn(move || panic!("{message}")).join().unwrap_err();
    // Nothing is dropped, as when a process aborts: the line must have been written by then.
    process::exit(0);
}
