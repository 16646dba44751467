//! One way to break a server for each check.

mod connections;
mod logging;
mod privileges;
mod roles;
mod row_security;
mod server;

pub(super) use self::{
    connections::CONNECTIONS, logging::LOGGING, privileges::PRIVILEGES, roles::ROLES,
    row_security::ROW_SECURITY, server::SERVER,
};
use super::breakage::Breakage;

/// Returns all breakages.
pub(super) fn all() -> impl Iterator<Item = &'static Breakage> {
    [ROW_SECURITY, PRIVILEGES, ROLES, CONNECTIONS, LOGGING, SERVER]
        .into_iter()
        .flatten()
}
