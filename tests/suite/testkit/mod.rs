//! The testkit itself: what every other test relies on.

mod cluster;
mod orphans;
mod ports;
mod proxy;
mod stack;
