//! Connections that are kept.
//!
//! deadpool rather than sqlx's own pool, which asks Postgres whether the connection is alive whenever one is given back:
//! one round trip more for each call. Here nothing is asked; who finds a kept connection dead takes another.

use std::time::Duration;

use deadpool::{
    Runtime,
    managed::{self, BuildError, Metrics, Object, PoolError, RecycleError, RecycleResult, Timeouts},
};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{ConnectOptions, Connection, Error, PgConnection, postgres::PgConnectOptions};

use super::error::DbError;

/// How long a call waits for a connection: longer than a burst, and shorter than anybody's patience with a database that
/// is down.
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection is replaced after this, so that load follows a failover, and what a session of Postgres collects is freed.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

pub(super) type Pool = managed::Pool<Connector>;

/// A connection on loan: it goes back when it is dropped.
pub(super) type PooledConnection = Object<Connector>;

/// Makes connections of one login.
#[derive(Debug)]
pub(super) struct Connector(PgConnectOptions);

/// A pool of at most `size` connections. None is made yet.
pub(super) fn pool(url: &SecretString, size: u32) -> Result<Pool, DbError> {
    let options: PgConnectOptions = url.expose_secret().parse()?;
    // Statements are the store's business; what is logged about a call is in its one line.
    let connector = Connector(options.disable_statement_logging());
    let timeouts = Timeouts {
        wait: Some(WAIT_TIMEOUT),
        create: Some(WAIT_TIMEOUT),
        recycle: Some(WAIT_TIMEOUT),
    };
    let built = Pool::builder(connector)
        .max_size(size as usize)
        .timeouts(timeouts)
        .runtime(Runtime::Tokio1)
        .build();
    built.map_err(|BuildError::NoRuntimeSpecified| DbError::unexpected("a pool without a runtime"))
}

impl managed::Manager for Connector {
    type Type = PgConnection;
    type Error = Error;

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where connections come from"
    )]
    async fn create(&self) -> Result<PgConnection, Error> {
        PgConnection::connect_with(&self.0).await
    }

    async fn recycle(&self, _: &mut PgConnection, metrics: &Metrics) -> RecycleResult<Error> {
        if metrics.age() > MAX_AGE {
            return Err(RecycleError::message("old"));
        }
        Ok(())
    }
}

impl From<PoolError<Error>> for DbError {
    fn from(error: PoolError<Error>) -> Self {
        match error {
            PoolError::Backend(error) => Self::from(error).without_connection(),
            _ => Self::no_connection(),
        }
    }
}
