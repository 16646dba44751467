//! The database's structure: what is true of every table, policy, function and role, and that migrations can
//! be taken back. Read from the catalog, so that what is added later is held to it too.
//!
//! Who reaches which rows is tried in [`crate::rls`]; here is what makes that hold for tables that nobody has
//! tried yet.

mod catalog_rules;
mod cluster_scripts;
mod migrations;

use anyhow::Result;
use haven_testkit::template::{TestCluster, TestDatabase};

/// A migrated database without rows.
async fn empty() -> Result<TestDatabase> {
    TestCluster::shared().await?.database().await
}
