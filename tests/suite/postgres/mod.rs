//! Postgres with the configuration of production, from `deploy/postgres`.

mod configuration;
