//! The RPCs: each parses its request into domain types before anything else, calls the store, and converts back.

pub mod account;
mod parsing;
pub mod session;
mod sign_in;
mod sign_up;
