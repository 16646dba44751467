//! Signing up, signing in and writing a message, through both services and Postgres, and the round trips that calls take.

mod compressed_answers;
mod queue_round_trips;
mod record_round_trips;
mod round_trips;
pub(crate) mod sealed_messages;
pub(crate) mod sign_up_and_in;
