//! Envelopes, and that nothing here can open one.

mod calls;
mod canary;
mod constraints;
mod dependencies;
mod keys;
mod nonces;
mod payloads;
mod rules;
mod search;
mod vectors;
