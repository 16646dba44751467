//! Signing up, signing in and writing a message, through both services and Postgres, and the round trips that calls take.

mod round_trips;
mod sealed_messages;
mod sign_up_and_in;
