//! `cargo dev` and its commands: the real program, against real services.

mod announced;
mod callers;
mod explanations;
mod failures;
mod pages;
mod rpcs;
mod running;
