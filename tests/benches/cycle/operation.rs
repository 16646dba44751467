//! What is measured against pgbench.

use std::fmt;

use super::world::BLOCK;

/// A call, and the transaction that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// One record gets another content.
    Update,
    /// A hundred records of one person do.
    Push,
}

impl Operation {
    /// How many records it changes.
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
