//! What a test or a development installation makes up.

use uuid::{Builder, Uuid};

/// A UUID that nobody has: version 4.
pub fn uuid() -> Uuid {
    Builder::from_random_bytes(rand::random()).into_uuid()
}
