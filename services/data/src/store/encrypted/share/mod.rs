//! What people share.

pub mod create_share;
pub mod list_share_access;
pub mod open_share;

pub use create_share::Shares;
