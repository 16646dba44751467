//! Starting: the configuration is checked as a whole, and a database that must not be served from is refused.

mod configuration;
mod database;
mod local_mode;
