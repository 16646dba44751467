//! The conversion of password rules into their message.

use haven_proto::identity::v1 as proto;

use crate::domain::password::PasswordRule;

/// Converts `rule` into its message.
pub(super) fn message(rule: PasswordRule) -> proto::PasswordRule {
    proto::PasswordRule {
        name: rule.name().to_owned(),
        description: rule.description().to_owned(),
    }
}
