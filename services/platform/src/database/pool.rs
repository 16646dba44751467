//! Connection pools.
//!
//! They use deadpool, because the pool of sqlx pings Postgres whenever a connection is returned: one more round trip
//! per call. Here a dead connection is discovered when it is next used, and replaced then.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{self, BuildError, Metrics, Object, PoolError, RecycleError, RecycleResult, Timeouts},
};
use sqlx::{AssertSqlSafe, Connection, Error, PgConnection, Row, postgres::PgConnectOptions, raw_sql};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{
    error::DbError,
    server::{Backend, LastServer},
    url::{CurrentOptions, DatabaseUrl},
};

/// The maximum time for which a call waits for a connection: longer than a burst of calls, and shorter than callers
/// wait for a database that is down.
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum age of a connection, so that connections follow a failover, and the memory of the Postgres backend is
/// freed.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

/// The maximum time for a server to say what one of its processes does.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) type Pool = managed::Pool<Connector>;

/// A connection from a pool, returned to it on drop.
pub(super) type PooledConnection = Object<Connector>;

/// A connection with what is known about the server at its other end.
#[derive(Debug)]
pub(super) struct Session {
    connection: PgConnection,
    /// The process of the server. `None` until it was asked, and always behind a pooler in transaction mode, where each
    /// transaction may have another one.
    pub(super) backend: Option<Backend>,
    /// The time of the last complete answer.
    pub(super) answered: Instant,
}

/// Opens connections for one login.
#[derive(Debug)]
pub(super) struct Connector {
    options: CurrentOptions,
    unconfirmed: Unconfirmed,
    /// The place for a connection that asks what a process of the server does.
    asking: Semaphore,
}

/// The connections outside of the pool on which Postgres has not confirmed a commit.
#[derive(Debug)]
pub(super) struct Unconfirmed {
    /// The places for them, as many as the pool has connections.
    pub(super) places: Semaphore,
    /// The server that the pool reached last. Commits on another one are not waited for.
    pub(super) server: LastServer,
}

/// Opens one connection, outside of a pool.
///
/// # Errors
///
/// [`DbError`] when the server cannot be reached, or refuses the connection.
#[expect(
    clippy::disallowed_methods,
    reason = "for the inspection and the migrations, which are not a tenant's work"
)]
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, DbError> {
    PgConnection::connect_with(options)
        .await
        .map_err(DbError::connecting)
}

/// Creates a pool of at most `size` connections without opening any.
pub(super) fn pool(url: &DatabaseUrl, size: u32) -> Result<Pool, DbError> {
    let connector = Connector {
        options: CurrentOptions::new(url)?,
        unconfirmed: Unconfirmed {
            places: Semaphore::new(size as usize),
            server: LastServer::default(),
        },
        asking: Semaphore::new(1),
    };
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

/// Closes the idle connections of `pool` that were last taken out more than `age` ago: they lead to the same server as one
/// that did not answer for as long.
pub(super) fn close_idle(pool: &Pool, age: Duration) {
    drop(pool.retain(|_, metrics| metrics.last_used() < age));
}

impl Connector {
    /// Returns whether every connection uses TLS, or fails. The server cannot tell: it sees the connections of the pooler.
    pub(super) fn requires_tls(&self) -> bool {
        self.options.require_tls()
    }

    /// Returns the connections outside of the pool on which Postgres has not confirmed a commit.
    pub(super) fn unconfirmed(&self) -> &Unconfirmed {
        &self.unconfirmed
    }

    /// Returns whether a commit in `backend` may still wait for a standby: its server is the one that the pool reaches, and
    /// says so or does not answer.
    pub(super) async fn waits_for_standby(&self, backend: &Backend) -> bool {
        if self.unconfirmed.server.is_other_than(&backend.server) {
            return false;
        }
        self.ask(backend.waits_for_standby()).await.unwrap_or(true)
    }

    /// Returns whether `backend` may execute a statement: the server that connections lead to now says so, or does not
    /// answer. After a failover it is another one, without this process.
    pub(super) async fn is_busy(&self, backend: &Backend) -> bool {
        self.ask(backend.is_busy()).await.unwrap_or(true)
    }

    /// Asks the server over a connection outside of the pool, one at a time: calls that wait for the same lock must not open a
    /// connection each. `None` when it does not answer.
    async fn ask(&self, query: String) -> Option<bool> {
        let asked = timeout(ASK_TIMEOUT, async {
            let _one = self.asking.acquire().await;
            let mut connection = self.open().await?;
            let row = raw_sql(AssertSqlSafe(query)).fetch_one(&mut connection).await?;
            Ok::<bool, DbError>(row.try_get("holds")?)
        });
        asked.await.ok()?.ok()
    }

    /// Opens a connection outside of the pool.
    pub(super) async fn open(&self) -> Result<PgConnection, DbError> {
        connect(&self.options.get().await).await
    }
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

impl managed::Manager for Connector {
    type Type = Session;
    type Error = Error;

    #[expect(
        clippy::disallowed_methods,
        reason = "the only place that opens connections of a pool"
    )]
    async fn create(&self) -> Result<Session, Error> {
        Ok(Session {
            connection: PgConnection::connect_with(&self.options.get().await).await?,
            backend: None,
            answered: Instant::now(),
        })
    }

    async fn recycle(&self, _: &mut Session, metrics: &Metrics) -> RecycleResult<Error> {
        if metrics.age() > MAX_AGE {
            return Err(RecycleError::message("old"));
        }
        Ok(())
    }
}

impl From<PoolError<Error>> for DbError {
    fn from(error: PoolError<Error>) -> Self {
        match error {
            PoolError::Backend(error) => Self::connecting(error),
            _ => Self::no_connection(),
        }
    }
}
