//! Fixture: keys and tokens made by JWT libraries of Python, each in its own way.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use haven_testkit::{
    python::{self, JWT_LIBRARIES},
    workspace,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::packages::or_skip;

/// What `issue.py` is to make: it describes the fields.
#[derive(Clone, Serialize)]
pub(super) struct Order {
    pub(super) library: &'static str,
    pub(super) algorithm: &'static str,
    pub(super) kid: Option<&'static str>,
    pub(super) form: &'static str,
    pub(super) tokens: Vec<Value>,
}

/// A document with public keys, and the tokens that their private keys signed.
#[derive(Deserialize)]
pub(super) struct Issued {
    pub(super) keys: Value,
    pub(super) tokens: Vec<String>,
    /// The UUID of version 5 of each token's issuer and subject.
    pub(super) people: Vec<String>,
}

/// Makes keys and tokens. `None` where the libraries cannot be had.
pub(super) fn issue(order: &Order) -> Option<Issued> {
    let packages = or_skip(&["pyjwt"], python::unpack("jwt-libraries", JWT_LIBRARIES))?;
    let mut child = Command::new("python3")
        .arg(workspace::root().join("tests/suite/tokens/issue.py"))
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Authlib and joserfc warn of what they will not support for ever.
        .env("PYTHONWARNINGS", "ignore")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(serde_json::to_string(order).unwrap().as_bytes())
        .unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{} {}", order.library, order.algorithm);
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
