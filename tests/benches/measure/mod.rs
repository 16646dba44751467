//! Shared code of the benchmarks of the data service: loads rows, runs the service's statements with pgbench, and
//! summarizes the results of several turns.

mod load;
mod pgbench;
mod spread;
mod statement;

pub(crate) use self::{
    load::{copy, tokens},
    pgbench::Pgbench,
    spread::Spread,
    statement::{BEGIN, CONTEXT, LOGIN, statement},
};

/// The number of connections to Postgres: of the service's request pool, and of pgbench.
pub(crate) const CONNECTIONS: u32 = 8;
