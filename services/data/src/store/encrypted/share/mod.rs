//! Shares.

mod create_share;
mod list_share_access;
mod list_shares;
mod open_share;
mod revoke_share;

use std::sync::Arc;

use haven_platform::database::Database;

pub use self::create_share::{CreateShareError, ShareTimes};
pub(in crate::store) use self::list_share_access::AccessRow;

/// The shares of all people, in the database.
#[derive(Clone, Debug)]
pub struct Shares {
    database: Arc<Database>,
}

impl Shares {
    /// Creates a store that uses `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}
