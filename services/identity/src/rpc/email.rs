//! The parsing of the `email` field.

use haven_platform::{failure::Violation, violations::Violations};

use crate::domain::email::EmailAddress;

/// Parses the field `email`. `None` when it is malformed; `violations` has every broken rule.
pub(super) fn parse(email: &str, violations: &mut Violations) -> Option<EmailAddress> {
    EmailAddress::parse(email)
        .map_err(|broken| {
            let broken = broken.into_iter();
            violations.extend(broken.map(|rule| Violation::new("email", rule.name(), rule.description())));
        })
        .ok()
}
