//! Tests of the testkit, on which every other test relies.

mod cluster;
mod orphans;
mod ports;
mod proxy;
mod stack;
