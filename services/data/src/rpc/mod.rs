//! The RPCs: each parses its request into domain types before anything else, calls the store, and converts back.

pub mod conversation;
mod parsing;
pub mod person;
