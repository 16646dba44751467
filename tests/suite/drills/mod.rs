//! Drills: faults under load, after which everything that was acknowledged is there, once.

mod failover;
