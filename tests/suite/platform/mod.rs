//! Layers of the platform crate: a server over TLS as the services build it, with a gRPC service made for these tests.

mod access;
pub(crate) mod attacker;
mod certificates;
mod compression;
mod deadlines;
mod drain;
mod failures;
mod health_and_reflection;
pub(crate) mod probe;
mod protocol;
mod resets;
mod streams;
mod trusted_proxies;
mod unread_answers;
