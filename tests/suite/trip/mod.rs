//! The whole way: from signing up to reading what was written, through both services and Postgres.

mod conversation;
mod round_trips;
mod sign_up;
