//! The `expected_version` of requests that change a stored record.

use haven_platform::{failure::Violation, violations::Violations};

/// Checks that the version that a change is based on is 1 or more.
pub(super) fn check(expected_version: i64, violations: &mut Violations) {
    if expected_version < 1 {
        let description = "expected_version is required, and must be 1 or more";
        violations.add(Violation::new("expected_version", "REQUIRED", description));
    }
}
