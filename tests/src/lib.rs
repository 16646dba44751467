//! What development and tests run Haven on: a private Postgres, certificates, both services as real processes, and
//! clients that speak to them over TLS.
//!
//! `cargo dev` and the end-to-end suite stand on the same code, so that what a developer sees is what is tested:
//!
//! | | |
//! | --- | --- |
//! | [`installation`] | finds Postgres on the machine, or installs it |
//! | [`state`], [`secrets`], [`certificates`] | what is kept between runs |
//! | [`workspace`], [`random`] | this checkout, and what is made up |
//! | [`process`], [`user`], [`port`] | children that never outlive their parent, as whom, and ports that nobody else has |
//! | [`cluster`], [`database`], [`bootstrap`] | a Postgres of our own, and Haven's databases in it |
//! | [`binaries`], [`environment`], [`service`] | both services: built, configured, started, ready |
//! | [`encryption`] | what a person's device does, and no service can: encrypting, and decrypting |
//! | [`template`], [`proxy`], [`stack`], [`client`] | a fresh Haven for each test, and how to call it |
//!
//! A test begins with [`stack::Stack::start`].

pub mod binaries;
pub mod bootstrap;
pub mod certificates;
pub mod client;
pub mod cluster;
pub mod database;
pub mod encryption;
pub mod environment;
pub mod installation;
pub mod port;
pub mod process;
pub mod proxy;
pub mod random;
pub mod secrets;
pub mod service;
pub mod stack;
pub mod state;
pub mod template;
pub mod user;
pub mod workspace;

pub use client::{Client, Person};
pub use stack::Stack;
