//! A cluster for tests, with a migrated database that each test gets a copy of.
//!
//! All tests of a process share a cluster, apart from the one of `cargo dev`. A second `cargo test` at the same time
//! takes a second directory, with a cluster of its own. The template is made anew when a migration changes.

use std::{fs, sync::Arc, thread};

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Connection};
use tokio::{runtime, sync::OnceCell};

use crate::{
    binaries::Binaries,
    bootstrap::{self, Migrations, bootstrap},
    certificates::{Certificates, keep_signing_key},
    cluster::{self, Cluster, Settings},
    database::Database,
    installation::Installation,
    port::Port,
    random,
    secrets::{ADMIN, SUPERUSER, Secrets},
    state::State,
    workspace,
};

/// The database that tests get copies of.
const TEMPLATE: &str = "haven_template";

/// Enough for as many stacks as there are test threads on a large machine.
const CONNECTIONS: u32 = 500;

/// A cluster for tests, and what belongs to it.
pub struct TestCluster {
    // Dropped first: it stops before somebody else may take the directory.
    /// The server.
    pub cluster: Cluster,
    pub(crate) certificates: Certificates,
    /// The passwords of its logins, and the keys of the services on it.
    pub secrets: Arc<Secrets>,
    pub(crate) state: State,
    _port: Port,
}

/// A copy of the template. Dropping it drops the database.
pub struct TestDatabase {
    database: Database,
    maintenance: Database,
}

// === impl TestCluster ===

impl TestCluster {
    /// The cluster that the tests of this process share. It runs until the process ends.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<TestCluster> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| async {
                Self::start(
                    State::take_any("test")?,
                    Migrations::Programs(&Binaries::build()?),
                )
                .await
            })
            .await
    }

    /// A new cluster, for a test that does to it what the others would not survive. Takes a second or two; longer when it
    /// is to be `durable`, as a real one is.
    pub async fn own(durable: bool) -> Result<Self> {
        let state = State::take_any("own")?;
        cluster::discard(&state)?;
        Self::start_as(state, Migrations::Programs(&Binaries::build()?), durable).await
    }

    /// The cluster in `state`, with a template that is up to date.
    pub async fn start(state: State, migrations: Migrations<'_>) -> Result<Self> {
        Self::start_as(state, migrations, false).await
    }

    async fn start_as(state: State, migrations: Migrations<'_>, durable: bool) -> Result<Self> {
        let installation = Installation::require(|line| eprintln!("{line}"))?;
        let content = workspace::content(&workspace::migrations())?;
        let stamp = format!("{} {content}\n{}", installation.version.major, bootstrap::SOURCE);
        let stamp_file = state.path().join("template");
        let current = fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp);
        if !current {
            // Roles outlive databases: only a new cluster has none of an older migration.
            cluster::discard(&state)?;
        }
        // Logs of an earlier run, kept so far because somebody may have wanted to read them.
        let _ = fs::remove_dir_all(state.path().join("stacks"));
        let secrets = Arc::new(Secrets::keep(state.path())?);
        let certificates = Certificates::keep(&state.path().join("certificates"))?;
        keep_signing_key(&state.path().join("signing-key.pem"))?;
        let port = Port::reserve()?;
        let settings = Settings {
            port: port.number(),
            durable,
            connections: CONNECTIONS,
        };
        let cluster = Cluster::start(
            &installation,
            state.path(),
            &certificates,
            Arc::clone(&secrets),
            settings,
        )
        .await?;
        match current {
            true => drop_leftovers(&cluster).await?,
            false => {
                bootstrap(&cluster, TEMPLATE, migrations).await?;
                let close = format!("ALTER DATABASE {TEMPLATE} ALLOW_CONNECTIONS false");
                cluster.database(SUPERUSER).run(SUPERUSER, &close).await?;
                fs::write(stamp_file, stamp)?;
            }
        }
        Ok(Self {
            cluster,
            certificates,
            secrets,
            state,
            _port: port,
        })
    }

    /// The database `postgres`, from which the cluster as a whole is looked at.
    pub fn maintenance(&self) -> Database {
        self.cluster.database(SUPERUSER)
    }

    /// A migrated database for one test.
    pub async fn database(&self) -> Result<TestDatabase> {
        let maintenance = self.maintenance();
        let database = self
            .cluster
            .database(&format!("test_{}", random::uuid().simple()));
        let copy = format!(
            "CREATE DATABASE {} TEMPLATE {TEMPLATE} OWNER {ADMIN}",
            database.name
        );
        maintenance
            .run(ADMIN, &copy)
            .await
            .context("copying the template")?;
        let test = TestDatabase {
            database,
            maintenance,
        };
        // A copy does not inherit what was granted on the database itself.
        for file in bootstrap::database_files()? {
            test.run(ADMIN, &file).await?;
        }
        Ok(test)
    }
}

// === impl TestDatabase ===

impl std::ops::Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (maintenance, name) = (self.maintenance.clone(), self.name.clone());
        // The test's own runtime is busy with this very drop. A database that remains is dropped by the next run.
        let dropping = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            runtime.map(|runtime| runtime.block_on(maintenance.run(SUPERUSER, &sql)))
        });
        let _ = dropping.join();
    }
}

/// Drops what tests left behind that were killed.
async fn drop_leftovers(cluster: &Cluster) -> Result<()> {
    let mut superuser = cluster.database(SUPERUSER).connect(SUPERUSER).await?;
    let names = "SELECT datname::text FROM pg_database WHERE datname LIKE 'test\\_%'";
    for name in sqlx::query_scalar::<_, String>(names)
        .fetch_all(&mut superuser)
        .await?
    {
        let sql = format!("DROP DATABASE {name} WITH (FORCE)");
        sqlx::query(AssertSqlSafe(sql)).execute(&mut superuser).await?;
    }
    Ok(superuser.close().await?)
}
