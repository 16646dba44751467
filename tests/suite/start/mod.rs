//! Startup: checks of the configuration, and of the database and its logins.

mod configuration;
mod database;
mod health_command;
mod local_mode;
mod upgrades;
