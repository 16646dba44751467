//! Both services and their commands behind a real PgBouncer in transaction mode, with its default configuration.

mod commands;
mod load;
mod misconfiguration;
mod restarts;
mod statements;

use haven_testkit::{package::Package, pgbouncer::PACKAGE};

use crate::packages;

/// The number of PgBouncer's connections to Postgres for each login: fewer than there are callers, and than the
/// connections of the services.
const POOL_SIZE: u32 = 4;

/// Returns PgBouncer. `None` where it cannot be had: the test is then skipped.
fn package() -> Option<Package> {
    packages::require(&[PACKAGE])
}
