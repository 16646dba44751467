//! How devices keep in step: what they push, what they pull, and what they have acknowledged. For pushing see
//! [`super::push`], for conflicts [`super::conflict`] and [`super::resolution`].

use std::sync::Arc;

use haven_platform::database::Database;

/// How devices keep in step: what they push, what they pull, and what they have acknowledged.
#[derive(Clone, Debug)]
pub struct Changes {
    pub(super) database: Arc<Database>,
}

impl Changes {
    /// Those in `database`.
    #[must_use]
    pub fn new(database: Arc<Database>) -> Self {
        Self { database }
    }
}
