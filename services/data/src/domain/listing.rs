//! In which order a page shows a conversation.

/// In which order messages come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOrder {
    /// By number, upwards.
    OldestFirst,
    /// By number, downwards.
    NewestFirst,
}
