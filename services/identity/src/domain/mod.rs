//! What is true about accounts, whoever asks and wherever they are kept. Knows no tonic and no sqlx: a test checks this
//! wall.

pub mod account;
pub mod consent;
pub mod email;
pub mod goals;
pub mod outbox;
pub mod password;
pub mod session;
