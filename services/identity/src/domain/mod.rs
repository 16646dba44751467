//! What is true about accounts, whoever asks and wherever they are kept. Knows no tonic and no sqlx: a test checks this
//! wall.

pub mod account;
pub mod audit;
pub mod audit_chain;
pub mod consent;
pub mod email;
pub mod erasure;
pub mod goals;
pub mod outbox;
pub mod password;
pub mod progress;
pub mod provider;
pub mod rate_limit;
pub mod refresh_token;
pub mod session;
