//! Sessions.

pub mod end_session;
pub mod refresh_session;
pub mod sign_in;

pub use end_session::*;
