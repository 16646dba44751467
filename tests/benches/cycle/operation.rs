//! The operations that are compared with pgbench.

use std::fmt;

use super::loaded_stack::BLOCK;

/// An RPC, and the transaction that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// UpdateRecord of a random record.
    Update,
    /// PushChanges with an update of each of 100 records of one person.
    Push,
}

impl Operation {
    /// Returns the number of records that one call changes.
    pub(crate) fn changes(self) -> u32 {
        match self {
            Self::Update => 1,
            Self::Push => BLOCK,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Update => f.write_str("UpdateRecord"),
            Self::Push => write!(f, "PushChanges ({BLOCK})"),
        }
    }
}
