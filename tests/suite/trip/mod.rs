//! The whole way: from signing up to reading what was written, through both services and Postgres.

mod round_trips;
mod sealed_messages;
mod sign_up_and_in;
