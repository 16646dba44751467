//! Haven's end-to-end suite: one binary, real Postgres, both real services, real TLS sockets.

mod bad_input;
mod eventually;
mod leaks;
mod metrics;
mod outages;
mod permissions;
mod platform;
mod raw;
mod retries;
mod rls;
mod schema;
mod sql;
mod start;
mod status;
mod telemetry;
mod testkit;
mod trip;
mod walls;
mod wire;
