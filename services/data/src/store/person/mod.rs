//! People: the SQL of PersonService.

mod erase_user;
pub mod export_data;
mod get_usage;
pub mod list_audit_events;
mod list_users;
mod lock_user;
mod provision_user;

pub use self::{erase_user::Receipt, provision_user::ProvisionError};

use std::sync::Arc;

use haven_platform::database::Database;

/// The table of people: those who were provisioned, and the tombstones of those who were erased.
#[derive(Clone, Debug)]
pub struct People {
    database: Arc<Database>,
}

impl People {
    /// Returns the people in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}
