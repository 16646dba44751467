//! The platform's layers, each made to do its work: a real server over real TLS, with a service that misbehaves.

mod access;
mod bounds;
mod certificates;
mod drain;
mod failures;
mod probe;
mod standard;
mod streams;
