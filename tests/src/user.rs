//! The system user that Postgres runs as when it is started by root.

use std::process::Command;

use anyhow::{Result, bail};
use rustix::process::geteuid;

/// A user of the operating system.
#[derive(Clone, Debug)]
pub struct User {
    /// The numeric id of the user.
    pub uid: u32,
    /// The numeric id of the user's primary group.
    pub gid: u32,
}

impl User {
    /// Returns the user for Postgres, which refuses to run as root: `postgres`, or else `nobody`. `None` if the current
    /// user is not root, because then Postgres runs as the current user.
    pub fn instead_of_root() -> Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        for name in ["postgres", "nobody"] {
            if let (Some(uid), Some(gid)) = (number("-u", name), number("-g", name)) {
                return Ok(Some(Self { uid, gid }));
            }
        }
        bail!(
            "Postgres does not run as root, and this system has neither a user `postgres` nor a user `nobody`"
        )
    }
}

/// Returns the id that `id` prints for a user, or `None` if there is no such user.
fn number(which: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([which, name]).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}
