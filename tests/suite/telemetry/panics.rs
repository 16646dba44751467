//! A panic is a line that says where, and never what: the message can hold what a person wrote.

use std::{env, process::Command, thread};

use haven_platform::{
    config::{LogFormat, Telemetry},
    telemetry,
};

use crate::leaks::canary::{Allowed, Flock, Haystack};

/// Set for a child process of the test below, to what it is to panic with.
const MESSAGE: &str = "HAVEN_TEST_PANIC";

#[test]
fn a_panic_is_logged_without_its_message() {
    let flock = Flock::default();
    let canary = flock.canary("a panic's message");
    // A process of its own, because telemetry and the panic hook are the whole process's. Not by the name of its file,
    // which the next build may already have replaced.
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
            .is_some_and(|place| place.contains("panics.rs:")),
        "{line}"
    );
    let place = flock.given("the place", Allowed::Nowhere, line["place"].as_str().unwrap());
    let output = Haystack::new(output);
    assert!(place.found(&output).is_some());
    assert_eq!(canary.found(&output), None);
}

#[test]
#[ignore = "panics; for the test above, which starts it in a process of its own"]
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
}
