//! The measured operations.

/// An RPC, and the transaction that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// GetMessage of a random message.
    Get,
    /// ListMessages of the newest page.
    List,
    /// AppendMessage of a message of typical length.
    Append,
}

/// The number of messages on a page.
pub(crate) const PAGE: usize = 20;

impl Operation {
    /// All operations. Append is last, because the messages that pgbench appends are all sealed for the same row, and the
    /// service could not read them.
    pub(crate) const ALL: [Self; 3] = [Self::Get, Self::List, Self::Append];

    /// Returns the name of the RPC.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Get => "GetMessage",
            Self::List => "ListMessages",
            Self::Append => "AppendMessage",
        }
    }
}
