//! What is true about messages and how they are kept. No tonic and no sqlx: a test checks this wall.

pub mod key_ring;
pub mod listing;
pub mod message;
pub mod sealing;
