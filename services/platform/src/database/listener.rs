//! Notifications between replicas, over one connection of its own: LISTEN and NOTIFY.
//!
//! A notification says that there is something new, and nothing else. It is sent after the commit of what is new, on the listening
//! connection: a NOTIFY within a transaction would make commits wait for each other. It may be lost, so what waits for one also polls.

use std::{fmt, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, Postgres, Row, pool::PoolOptions, postgres::PgListener, raw_sql,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Database,
    error::DbError,
    inspection::{InspectionError, one_row},
    pool::connect,
    url::{CurrentOptions, DatabaseUrl},
};
use crate::entropy::Entropy;

/// The name of the variable with the URL.
const VARIABLE: &str = "LISTEN_DATABASE_URL";

/// The least time between two notifications of this replica: what happens in between is one notification.
const PAUSE: Duration = Duration::from_millis(5);

/// The time without anything to do after which the connection is asked for a sign of life.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The maximum time for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The delay before the first new attempt to connect. It doubles with each attempt.
const FIRST_DELAY: Duration = Duration::from_millis(500);

/// The longest delay between two attempts. A connection that lasted longer was a good one, and the delay begins again.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// The properties of a session.
const SESSION: &str = "SELECT current_user::text AS login, pg_catalog.current_database()::text AS database, \
                       pg_catalog.pg_backend_pid() AS pid";

/// Tells the other replicas that there is something new.
#[derive(Clone, Debug, Default)]
pub struct Announcer(Arc<Notify>);

/// The connection on which a replica tells the others what is new, and hears of them.
pub struct Listener {
    database: Arc<Database>,
    channel: &'static str,
    options: CurrentOptions,
    announced: Announcer,
}

/// The reason why notifications are not heard.
#[derive(Debug, thiserror::Error)]
enum Deaf {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("the connection was lost")]
    Lost,
    #[error("Postgres does not answer")]
    Silent,
    #[error("{0}")]
    Refused(String),
}

/// A session of Postgres.
#[derive(Debug, PartialEq, Eq)]
struct Session {
    login: String,
    database: String,
    pid: i32,
}

// === impl Announcer ===

impl Announcer {
    /// Tells the other replicas, soon and without waiting. Several calls in a short time are one notification.
    pub fn announce(&self) {
        self.0.notify_one();
    }
}

// === impl Listener ===

impl Listener {
    /// Creates the listener on `channel`, which is one of the service's own, without connecting.
    ///
    /// # Errors
    ///
    /// [`DbError`] when the URL is malformed, or allows a connection without TLS where that of the worker login does not.
    pub fn new(database: Arc<Database>, url: &DatabaseUrl, channel: &'static str) -> Result<Self, DbError> {
        let options = CurrentOptions::new(url)?;
        if database.worker.manager().requires_tls() && !options.require_tls() {
            return Err(DbError::unexpected(
                "LISTEN_DATABASE_URL allows a connection without TLS, and WORKER_DATABASE_URL does not: set sslmode=verify-full",
            ));
        }
        describe_metrics();
        Ok(Self {
            database,
            channel,
            options,
            announced: Announcer::default(),
        })
    }

    /// Returns the handle that tells the other replicas.
    #[must_use]
    pub fn announcer(&self) -> Announcer {
        self.announced.clone()
    }

    /// Checks that the URL leads to the service's database, as the worker login, and past any pooler in transaction mode. What
    /// cannot be reached is not checked: the service works without notifications.
    ///
    /// # Errors
    ///
    /// [`InspectionError::Refused`] when it does not; [`InspectionError::Unavailable`] when the database does not answer.
    pub async fn inspect(&self) -> Result<(), InspectionError> {
        let options = self.options.get().await;
        let opened = timeout(PATIENCE, async {
            let (mut first, mut second) = (connect(&options).await?, connect(&options).await?);
            // Both are open meanwhile, so only a pooler gives them the same session, or one of them another.
            let sessions = [
                Session::of(&mut first).await?,
                Session::of(&mut second).await?,
                Session::of(&mut first).await?,
            ];
            Ok::<_, DbError>((sessions, first, second))
        });
        let Ok(Ok((sessions, first, second))) = opened.await else {
            return Ok(());
        };
        // The answer does not matter.
        let _ = timeout(PATIENCE, async { tokio::join!(first.close(), second.close()) }).await;
        let row = one_row(&self.database.worker, SESSION.to_owned()).await?;
        let worker = Session::read(&row).map_err(DbError::from)?;
        match fault(&sessions, &worker, self.database.schema) {
            Some(fault) => Err(InspectionError::Refused(fault)),
            None => Ok(()),
        }
    }

    /// Calls `wake` whenever another replica has something new, or may have had while nothing was heard, until `stop` is
    /// cancelled. Connects again when the connection is lost, with a growing delay.
    pub async fn run(self, wake: impl Fn() + Send + Sync, entropy: Entropy, stop: CancellationToken) {
        stop.run_until_cancelled(self.listen_for_ever(wake, entropy))
            .await;
    }

    async fn listen_for_ever(&self, wake: impl Fn() + Send + Sync, entropy: Entropy) {
        set_listening(false);
        let (mut was_listening, mut delay) = (None, FIRST_DELAY);
        loop {
            let began = Instant::now();
            let error = match self.open().await {
                Ok((listener, pid)) => {
                    set_listening(true);
                    if was_listening.replace(true) != Some(true) {
                        tracing::info!(
                            channel = self.channel,
                            "notifications of other replicas are heard"
                        );
                    }
                    wake();
                    self.listen(listener, pid, &wake).await
                }
                Err(error) => error,
            };
            set_listening(false);
            if was_listening.replace(false) != Some(false) {
                tracing::warn!(
                    channel = self.channel,
                    cause = %error,
                    "notifications of other replicas are not heard; what they have is found by polling"
                );
            }
            if began.elapsed() > MAX_DELAY {
                delay = FIRST_DELAY;
            }
            sleep(jittered(delay, &entropy)).await;
            delay = (delay * 2).min(MAX_DELAY);
        }
    }

    /// Connects, and begins to listen.
    #[expect(
        clippy::disallowed_methods,
        reason = "sqlx listens on a connection of one of its pools; no row is read on it"
    )]
    async fn open(&self) -> Result<(PgListener, i32), Deaf> {
        let options = self.options.get().await;
        let opened = timeout(PATIENCE, async {
            let pool = PoolOptions::<Postgres>::new()
                .max_connections(1)
                .max_lifetime(None)
                .idle_timeout(None)
                .acquire_timeout(PATIENCE)
                .connect_with(options)
                .await
                .map_err(DbError::connecting)?;
            let mut listener = PgListener::connect_with(&pool)
                .await
                .map_err(DbError::connecting)?;
            listener.ignore_pool_close_event(true);
            listener.eager_reconnect(false);
            listener.listen(self.channel).await.map_err(DbError::from)?;
            let pid = self.session(&mut listener).await?.pid;
            Ok::<_, Deaf>((listener, pid))
        });
        opened.await.unwrap_or(Err(Deaf::Silent))
    }

    /// Listens and announces until the connection is lost. Returns why.
    async fn listen(&self, mut listener: PgListener, pid: i32, wake: &(impl Fn() + Send + Sync)) -> Deaf {
        let notify = format!(r#"NOTIFY "{}""#, self.channel);
        let mut next = Instant::now();
        loop {
            let announced = async {
                sleep_until(next).await;
                self.announced.0.notified().await;
            };
            tokio::select! {
                received = listener.try_recv() => match received {
                    // Its own notifications come back.
                    Ok(Some(notification)) if i64::from(notification.process_id()) == i64::from(pid) => {}
                    Ok(Some(_)) => wake(),
                    Ok(None) => return Deaf::Lost,
                    Err(error) => return DbError::from(error).into(),
                },
                () = announced => {
                    let sent = raw_sql(AssertSqlSafe(notify.as_str())).execute(&mut listener);
                    match timeout(PATIENCE, sent).await {
                        Ok(Ok(_)) => next = Instant::now() + PAUSE,
                        outcome => {
                            // It is sent on the next connection.
                            self.announced.announce();
                            return match outcome {
                                Ok(Err(error)) => DbError::from(error).into(),
                                _ => Deaf::Silent,
                            };
                        }
                    }
                }
                () = sleep(HEARTBEAT) => match timeout(PATIENCE, self.session(&mut listener)).await {
                    Ok(Ok(session)) if session.pid == pid => {}
                    Ok(Ok(_)) => return Deaf::Refused(pooled()),
                    Ok(Err(error)) => return error,
                    Err(_) => return Deaf::Silent,
                },
            }
        }
    }

    /// Returns the session of `listener`.
    async fn session(&self, listener: &mut PgListener) -> Result<Session, Deaf> {
        let row = raw_sql(SESSION)
            .fetch_one(listener)
            .await
            .map_err(DbError::from)?;
        Ok(Session::read(&row).map_err(DbError::from)?)
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

// === impl Session ===

impl Session {
    async fn of(connection: &mut PgConnection) -> Result<Self, DbError> {
        let row = raw_sql(SESSION).fetch_one(connection).await?;
        Ok(Self::read(&row)?)
    }

    fn read(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            login: row.try_get("login")?,
            database: row.try_get("database")?,
            pid: row.try_get("pid")?,
        })
    }
}

/// Returns what is wrong with the sessions of a connection, of a second one, and of the first again. `worker` is a session of the
/// worker login of `schema`.
fn fault(sessions: &[Session; 3], worker: &Session, schema: &str) -> Option<String> {
    let [first, second, first_again] = sessions;
    if first.login != format!("{schema}_worker") {
        let login = &first.login;
        return Some(format!(
            "the login of {VARIABLE} is {login}; it must be {schema}_worker"
        ));
    }
    if first.database != worker.database {
        return Some(format!(
            "{VARIABLE} leads to another database than WORKER_DATABASE_URL"
        ));
    }
    (first.pid == second.pid || first.pid != first_again.pid).then(pooled)
}

fn pooled() -> String {
    format!(
        "{VARIABLE} leads to a pooler in transaction mode, which LISTEN does not pass: set it to the address of Postgres itself, or leave it out"
    )
}

/// Returns `delay` with a jitter of a quarter of it, so that replicas that lost a server together do not come back together.
fn jittered(delay: Duration, entropy: &Entropy) -> Duration {
    let mut random = [0; 1];
    entropy.fill(&mut random);
    delay.mul_f64(0.75 + f64::from(random[0]) / 512.0)
}

fn set_listening(listening: bool) {
    metrics::gauge!("haven_db_listening").set(f64::from(u8::from(listening)));
}

fn describe_metrics() {
    metrics::describe_gauge!(
        "haven_db_listening",
        metrics::Unit::Count,
        "1 while notifications of other replicas are heard on LISTEN_DATABASE_URL, 0 while they are not; without the variable there is no series"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(login: &str, database: &str, pid: i32) -> Session {
        Session {
            login: login.to_owned(),
            database: database.to_owned(),
            pid,
        }
    }

    #[test]
    fn a_session_of_another_login_database_or_pooler_is_refused() {
        let worker = session("data_worker", "haven", 7);
        let check = |login: &str, database: &str, pids: [i32; 3]| {
            fault(&pids.map(|pid| session(login, database, pid)), &worker, "data").unwrap_or_default()
        };
        assert_eq!(check("data_worker", "haven", [1, 2, 1]), "");
        for (found, expected) in [
            (check("data_app", "haven", [1, 2, 1]), "must be data_worker"),
            (check("data_worker", "other", [1, 2, 1]), "another database"),
            (check("data_worker", "haven", [1, 1, 1]), "a pooler"),
            (check("data_worker", "haven", [1, 2, 3]), "a pooler"),
        ] {
            assert!(found.contains(expected), "{found}");
        }
    }

    #[test]
    fn a_delay_has_a_jitter_of_a_quarter() {
        let entropy = Entropy::seeded(7);
        for _ in 0..100 {
            let delay = jittered(Duration::from_secs(4), &entropy);
            assert!((3.0..5.0).contains(&delay.as_secs_f64()), "{delay:?}");
        }
    }

    #[tokio::test]
    async fn several_announcements_are_one() {
        let announcer = Announcer::default();
        for _ in 0..10 {
            announcer.announce();
        }
        announcer.0.notified().await;
        assert!(
            timeout(Duration::from_millis(10), announcer.0.notified())
                .await
                .is_err()
        );
    }
}
