//! What the benchmarks of the data service have in common: how pgbench runs the service's own statements, and how much came
//! of it in several turns.

mod load;
mod pgbench;
mod spread;
mod statement;

pub(crate) use self::{
    load::{copy, tokens},
    pgbench::Pgbench,
    spread::Spread,
    statement::{BEGIN, LOGIN, statement},
};

/// Connections to Postgres: the service's for requests, and pgbench's.
pub(crate) const CONNECTIONS: u32 = 8;
