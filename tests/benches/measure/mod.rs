//! Shared code of the benchmarks: their arguments, turns of concurrent callers with the CPU time that they cost, and the
//! comparison with Postgres alone and with another build.

pub(crate) mod build;
pub(crate) mod comparison;
pub(crate) mod cpu;
pub(crate) mod load;
pub(crate) mod options;
pub(crate) mod pgbench;
pub(crate) mod profile;
pub(crate) mod side;
pub(crate) mod spread;
pub(crate) mod statement;
pub(crate) mod symbols;
pub(crate) mod turn;

/// The number of connections to Postgres: of the service's request pool, and of pgbench.
pub(crate) const CONNECTIONS: u32 = 8;

/// The number of connections that the callers of a service share.
pub(crate) const CHANNELS: usize = 4;
