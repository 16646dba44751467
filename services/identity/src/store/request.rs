//! Requests: what is kept of a change so that its retry is known as one.

pub use haven_platform::request_key::RequestKey;
