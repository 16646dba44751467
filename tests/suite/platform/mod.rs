//! The platform's layers, each made to do its work: a real server over real TLS, with a service that misbehaves.

mod access;
mod certificates;
mod deadlines;
mod drain;
mod failures;
mod health_and_reflection;
mod probe;
mod streams;
