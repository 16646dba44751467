//! Random values for tests and development installations.

use uuid::{Builder, Uuid};

/// Returns a random UUID (version 4).
pub fn uuid() -> Uuid {
    Builder::from_random_bytes(rand::random()).into_uuid()
}
