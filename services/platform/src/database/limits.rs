//! The limits that a transaction carries for its schema to enforce, such as a person's quotas.

use std::fmt::Write as _;

/// Limits by name, which every transaction for a user carries in the setting `<schema>.limits`, as JSON. Triggers and
/// functions of the schema compare with them, so that the check and the write are one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// The limits of a user's own transactions ([`super::Context::User`]), as JSON.
    user: String,
    /// The limits of a service's transactions for a user ([`super::Context::ServiceFor`]), as JSON.
    service: String,
}

impl Limits {
    /// Creates the limits of a user's own transactions, and those of a service's transactions for a user.
    #[must_use]
    pub fn new(user: &[(&'static str, u64)], service: &[(&'static str, u64)]) -> Self {
        Self {
            user: json(user),
            service: json(service),
        }
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }
}

/// Returns an object of numbers. The names are identifiers and need no escaping.
fn json(limits: &[(&'static str, u64)]) -> String {
    let mut text = String::from("{");
    for (name, limit) in limits {
        let separator = if text.len() > 1 { "," } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}\"{name}\":{limit}");
    }
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_an_object_of_numbers() {
        let limits = Limits::new(&[("widgets", 5), ("widget_bytes", 1024)], &[]);
        assert_eq!(limits.user(), r#"{"widgets":5,"widget_bytes":1024}"#);
        assert_eq!(limits.service(), "{}");
    }
}
