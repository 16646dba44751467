//! Startup: checks of the configuration, and of the database and its logins.

mod configuration;
mod database;
mod local_mode;
