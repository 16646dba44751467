//! Haven's end-to-end suite: one binary, real Postgres, both real services, real TLS sockets.

mod accounts;
mod audit;
mod bad_input;
mod consents;
mod deletion;
mod eventually;
mod leaks;
mod metrics;
mod outages;
mod passwords;
mod permissions;
mod platform;
mod raw;
mod retries;
mod rls;
mod schema;
mod sessions;
mod sql;
mod start;
mod status;
mod telemetry;
mod testkit;
mod tokens;
mod trip;
mod walls;
mod wire;
