//! The structure of the database: rules for every table, policy, function and role, and reversible migrations. The
//! rules read the catalog, so they hold for later additions too.
//!
//! [`crate::rls`] tests which rows each role reaches; the rules here cover tables that it has no test for yet.

pub(crate) mod catalog_rules;
mod check_functions;
mod cluster_scripts;
mod digests;
mod history;
pub(crate) mod migrations;
mod oldest_binary;
mod online;
mod set_once;
mod sharding;
pub(crate) mod snapshot;
mod unique_keys;

use anyhow::Result;
use haven_testkit::template::{TestCluster, TestDatabase};

/// Creates a migrated database without rows.
async fn empty() -> Result<TestDatabase> {
    TestCluster::shared().await?.database().await
}
