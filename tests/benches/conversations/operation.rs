//! The measured operations.

use std::fmt;

/// An RPC, and the transaction that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// AppendMessage of a message of typical length.
    Append,
    /// GetMessage of a random message.
    Get,
    /// ListMessages of the newest page.
    List,
}

/// The number of messages on a page.
pub(crate) const PAGE: usize = 20;

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append => f.write_str("append"),
            Self::Get => f.write_str("get"),
            Self::List => write!(f, "list ({PAGE})"),
        }
    }
}
