//! The operations that are compared with pgbench.

use super::{loaded_stack::BLOCK, measure::comparison::Work};

/// An RPC, and the transaction that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// UpdateRecord of a random record.
    Update,
    /// PushChanges with an update of each of 100 records of one person.
    Push,
}

impl Operation {
    /// All operations.
    pub(crate) const ALL: [Self; 2] = [Self::Update, Self::Push];

    /// Returns the name of the RPC.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Update => "UpdateRecord",
            Self::Push => "PushChanges",
        }
    }

    /// Returns how the results are printed.
    pub(crate) fn work(self) -> Work {
        let work = Work::requests(self.name());
        match self {
            Self::Update => work,
            Self::Push => Work {
                name: format!("{} ({BLOCK})", self.name()),
                amounts: &[(1.0, "a request"), (1.0 / BLOCK as f64, "a change")],
                ..work
            },
        }
    }

    /// Returns the number of records that one call changes.
    pub(crate) fn changes(self) -> u32 {
        match self {
            Self::Update => 1,
            Self::Push => BLOCK,
        }
    }
}
