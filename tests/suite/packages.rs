//! Servers beside Postgres that a test needs.

use std::io::{Write, stderr};

use haven_testkit::package::Package;

/// The variable that makes a skipped test fail. CI sets it.
const NO_SKIPS: &str = "HAVEN_NO_SKIPS";

/// Unpacks packages of this system. `None` when they cannot be had: the test is then skipped, with a line that names the
/// packages.
///
/// # Panics
///
/// When they cannot be had in CI.
pub(crate) fn require(names: &[&str]) -> Option<Package> {
    or_skip(names, Package::unpack(names))
}

/// Returns the value of `result`. On an error the test is skipped, as in [`require`].
pub(crate) fn or_skip<T>(names: &[&str], result: anyhow::Result<T>) -> Option<T> {
    let error = match result {
        Ok(value) => return Some(value),
        Err(error) => error,
    };
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("SKIPPED {test}: package {}: {error:#}\n", names.join(" "));
    assert!(std::env::var_os(NO_SKIPS).is_none(), "{line}");
    // Written past the capture of the test harness, which shows the output of failed tests only.
    let _ = stderr().write_all(line.as_bytes());
    None
}
