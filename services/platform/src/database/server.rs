//! The server at the other end of a connection.

use std::sync::{Mutex, PoisonError};

use sqlx::{Row, postgres::PgRow};

use super::error::DbError;

/// The columns that [`Server::of`] and [`Backend::of`] read.
pub(super) const SERVER: &str = "pg_catalog.pg_is_in_recovery() AS in_recovery, \
             pg_catalog.pg_postmaster_start_time()::text AS started, \
             pg_catalog.pg_backend_pid() AS pid";

/// A server that accepts writes, by the time at which it started: a failover or a restart leads to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server(String);

/// The process of a server that a transaction runs in.
#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) server: Server,
    pid: i32,
}

/// The server that a pool reached last.
#[derive(Debug, Default)]
pub(super) struct LastServer(Mutex<Option<Server>>);

impl Server {
    /// Returns the server that sent `row`.
    ///
    /// # Errors
    ///
    /// [`DbError`] when it is a standby.
    pub(super) fn of(row: &PgRow) -> Result<Self, DbError> {
        if row.try_get("in_recovery")? {
            return Err(DbError::standby());
        }
        Ok(Self(row.try_get("started")?))
    }
}

impl Backend {
    /// Returns the process that sent `row`.
    ///
    /// # Errors
    ///
    /// [`DbError`] when its server is a standby.
    pub(super) fn of(row: &PgRow) -> Result<Self, DbError> {
        Ok(Self {
            server: Server::of(row)?,
            pid: row.try_get("pid")?,
        })
    }

    /// Returns the query for whether the process executes a statement. The login sees its own sessions.
    pub(super) fn is_busy(&self) -> String {
        format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = {} AND state = 'active') \
             AND pg_catalog.pg_postmaster_start_time()::text = '{}' AS holds",
            self.pid, self.server.0
        )
    }

    /// Returns the query for whether the process waits for a standby to have its commit. The login sees its own sessions.
    pub(super) fn waits_for_standby(&self) -> String {
        format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = {} AND wait_event = 'SyncRep') AS holds",
            self.pid
        )
    }
}

impl LastServer {
    /// Replaces the server if it is another one.
    pub(super) fn set(&self, server: &Server) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(server) {
            *last = Some(server.clone());
        }
    }

    /// Returns whether another server than `server` was reached last.
    pub(super) fn is_other_than(&self, server: &Server) -> bool {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().is_some_and(|last| last != server)
    }
}
