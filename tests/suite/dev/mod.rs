//! `cargo dev call` and `cargo dev tour`: the real program, against real services.

mod announced;
mod callers;
mod explanations;
mod failures;
mod rpcs;
mod running;
