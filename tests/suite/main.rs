//! End-to-end suite of Haven: one binary, a real Postgres, both services as real processes, real TLS sockets.
//!
//! | Folder | Tests of |
//! | --- | --- |
//! | `account`, `session`, `recovery` | gRPC services of identity |
//! | `conversation`, `analysis`, `analysis_queue`, `crisis` | gRPC services of data with content that it can decrypt |
//! | `cycle`, `preferences`, `device`, `share` | gRPC services of data with content that clients encrypt |
//! | `person` | provisioning, export and erasure of a person in data |
//! | `reconcile` | `identity reconcile`: both services after a restore of one schema or of both; the journal of erasures; locked people |
//! | `trip` | signing up, signing in and writing a message through both services; round trips to Postgres |
//! | `tokens` | access tokens: other issuers and their keys, ended sessions, erased people |
//! | `retries` | callers that retry: the service config, grpcio, the layer for tonic; rolling restarts |
//! | `bad_input` | malformed fields, tokens, messages and sockets |
//! | `failure_details` | the size of failures, and failures behind a proxy |
//! | `outages` | services and Postgres that are down or killed |
//! | `deploy` | the manifests in `deploy/`, run as they say |
//! | `start`, `telemetry` | configuration and startup; logs, metrics and traces |
//! | `envelope`, `sealing` | client-side encryption; encryption at rest |
//! | `postgres` | Postgres with the configuration files of production |
//! | `backup` | backups, restores and dumps with the files of `deploy/backup` |
//! | `permissions`, `rls`, `leaks`, `schema`, `exports`, `architecture` | checks across all RPCs, tables and crates |
//! | `protos` | the protos as sources for other languages |
//! | `poolers` | both services and their commands behind a connection pooler |
//! | `query_monitoring` | statistics of statements: `cargo dev queries`, psql and Prometheus |
//! | `monitoring` | rules, dashboards and runbook against a real scrape; alerts end to end |
//! | `postgres_versions` | every major version of Postgres that Haven runs on |
//! | `proxies` | both services behind nginx, HAProxy, Envoy, Caddy and Traefik |
//! | `web` | calls from browsers: gRPC-Web, CORS and HTTP/1.1; the pages of `deploy/web` in Chromium, which `deploy/web/check` runs, alone |
//! | `platform` | the layers of the platform crate, behind a server made for these tests |
//! | `drills` | faults under load: killed processes, rolling restarts |
//! | `workload` | many callers of all mutations, and the verification of what they stored; drills use it |
//! | `testkit`, `dev` | the testkit itself; `cargo dev`, with its calls and its tour |
//!
//! The other files are fixtures. A test starts a stack of its own with `Stack::start` or `Stack::builder`, or shares one with
//! `Stack::shared`; the docs of `Stack::shared` say when it may.

mod account;
mod analysis;
mod analysis_jobs;
mod analysis_queue;
mod architecture;
mod backup;
mod bad_input;
mod browser;
mod capacity;
mod concurrently;
mod conversation;
mod crisis;
mod crisis_message;
mod cycle;
mod deploy;
mod dev;
mod device;
mod docs;
mod drills;
mod encrypted_fixture;
mod envelope;
mod eventually;
mod every_rpc;
mod exports;
mod failure_details;
mod growth;
mod leaks;
mod metrics;
mod monitoring;
// Beside the suite, because it has a command of its own.
#[path = "../mutants/mod.rs"]
mod mutants;
mod newer_program;
mod outages;
mod packages;
mod permissions;
mod person;
mod platform;
mod poolers;
mod postgres;
mod postgres_versions;
mod preferences;
mod protos;
mod proxies;
mod query_monitoring;
mod quotas;
mod raw_call;
mod raw_socket;
mod reconcile;
mod recovery;
mod replica;
mod retries;
mod retry;
mod rls;
mod schema;
mod sealing;
mod secret_keys;
mod session;
mod share;
mod start;
mod status;
mod superuser_sql;
mod telemetry;
mod test_device;
mod testkit;
mod times;
mod tokens;
mod trip;
mod web;
mod workload;
