//! The system user that Postgres runs as, where it cannot run as the one who starts it.

use std::process::Command;

use anyhow::{Result, bail};
use rustix::process::geteuid;

/// A user of this system.
#[derive(Clone, Debug)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The number of the user's group.
    pub gid: u32,
}

impl User {
    /// Somebody for Postgres, which refuses to run as root: `postgres`, or else `nobody`. `None` for everybody but root, whose
    /// servers run as themselves.
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

fn number(which: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([which, name]).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}
