//! What is measured.

use std::fmt;

/// A call, and the transaction that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Somebody says something.
    Append,
    /// Any one message is read.
    Get,
    /// The newest page is read.
    List,
}

/// How many messages are on a page.
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
