//! What is true about messages, analyses and crises, and how texts are kept. No tonic and no sqlx: a test checks this wall.

pub mod analysis;
pub mod analysis_details;
pub mod audit;
pub mod crisis;
pub mod encrypted;
pub mod error_code;
pub mod key_ring;
pub mod lease;
pub mod message;
pub mod message_list;
pub mod milestone;
pub mod phrases;
pub mod sealing;
