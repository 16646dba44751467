//! The list of all checks.

use super::{Check, authentication, extensions, functions, logging, privileges, roles, row_security, server};

/// Returns all checks, by theme.
pub fn all() -> impl Iterator<Item = &'static Check> {
    [
        server::CHECKS,
        authentication::CHECKS,
        roles::CHECKS,
        row_security::CHECKS,
        privileges::CHECKS,
        functions::CHECKS,
        extensions::CHECKS,
        logging::CHECKS,
    ]
    .into_iter()
    .flatten()
}
