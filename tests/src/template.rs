//! A cluster for tests, with a migrated template database that is copied for each test.
//!
//! All tests of a process share a cluster, which is not the one of `cargo dev`. A concurrent `cargo test` uses another
//! directory with its own cluster. The template is recreated when a migration changes.

use std::{fs, sync::Arc, thread};

use anyhow::{Context, Result};
use sqlx::Connection;
use tokio::{runtime, sync::OnceCell};

use crate::{
    binaries::Binaries,
    bootstrap::{self, Migrations, bootstrap},
    certificates::{Certificates, keep_signing_key},
    cluster::{self, Cluster, ConfigFiles, Settings},
    database::Database,
    installation::Installation,
    port::Port,
    random,
    secrets::{ADMIN, SUPERUSER, Secrets},
    state::State,
    workspace,
};

/// The name of the template database.
const TEMPLATE: &str = "haven_template";

/// The name of the database of a cluster with the configuration files of production, whose `pg_hba.conf` names it.
const PRODUCTION: &str = "haven";

/// The maximum number of connections: enough for one stack per test thread on a large machine.
const CONNECTIONS: u32 = 500;

/// A cluster for tests, with its certificates and secrets.
pub struct TestCluster {
    // Dropped first, so that it stops before another process can take the directory.
    /// The Postgres cluster, which is running.
    pub cluster: Cluster,
    pub(crate) certificates: Certificates,
    /// The passwords of its logins, and the keys of its services.
    pub secrets: Arc<Secrets>,
    pub(crate) state: State,
    files: ConfigFiles,
    _port: Port,
}

/// A copy of the template database. Dropping it drops the database.
pub struct TestDatabase {
    database: Database,
    /// `None` if the database ends with its cluster.
    maintenance: Option<Database>,
}

// === impl TestCluster ===

impl TestCluster {
    /// Returns the cluster that the tests of this process share. It runs until the process ends.
    pub async fn shared() -> Result<&'static Self> {
        static SHARED: OnceCell<TestCluster> = OnceCell::const_new();
        SHARED
            .get_or_try_init(|| async {
                Self::start(
                    State::take_any_in_memory("test")?,
                    Migrations::Programs(&Binaries::build()?),
                )
                .await
            })
            .await
    }

    /// Creates a new cluster for a test that would disturb others. It takes a second or two, and longer if it is
    /// `durable`, with `fsync` as in production.
    pub async fn own(durable: bool) -> Result<Self> {
        let state = match durable {
            true => State::take_any("durable")?,
            false => State::take_any_in_memory("own")?,
        };
        cluster::discard(&state)?;
        let installation = Installation::require(|line| eprintln!("{line}"))?;
        let migrations = Migrations::Programs(&Binaries::build()?);
        Self::start_as(state, migrations, installation, durable, ConfigFiles::Development).await
    }

    /// Creates a new cluster on the disk, without `fsync`, for a test that stores more than fits in memory.
    pub async fn on_disk() -> Result<Self> {
        let state = State::take_any("large")?;
        cluster::discard(&state)?;
        let installation = Installation::require(|line| eprintln!("{line}"))?;
        let migrations = Migrations::Programs(&Binaries::build()?);
        Self::start_as(state, migrations, installation, false, ConfigFiles::Development).await
    }

    /// Creates a new cluster of another Postgres than the one that the other tests run on: see [`Installation::of_major`].
    pub async fn of(installation: Installation) -> Result<Self> {
        let state = State::take_any_in_memory("version")?;
        cluster::discard(&state)?;
        let migrations = Migrations::Programs(&Binaries::build()?);
        Self::start_as(state, migrations, installation, false, ConfigFiles::Development).await
    }

    /// Creates a new cluster with the configuration files and the role limits of `deploy/postgres`, as in production. It has
    /// one database, `haven`.
    ///
    /// `installation` needs the extension pgaudit: see [`Installation::with_audit`].
    pub async fn production(installation: Installation) -> Result<Self> {
        let state = State::take_any_in_memory("production")?;
        cluster::discard(&state)?;
        let migrations = Migrations::Programs(&Binaries::build()?);
        Self::start_as(state, migrations, installation, false, ConfigFiles::Production).await
    }

    /// Creates a new cluster as [`production`](Self::production) does, on the disk, for a test that stores more than fits in
    /// memory.
    pub async fn production_on_disk(installation: Installation) -> Result<Self> {
        let state = State::take_any("production")?;
        cluster::discard(&state)?;
        let migrations = Migrations::Programs(&Binaries::build()?);
        Self::start_as(state, migrations, installation, false, ConfigFiles::Production).await
    }

    /// Starts the cluster in `state`, and creates it if its template is missing or outdated.
    pub async fn start(state: State, migrations: Migrations<'_>) -> Result<Self> {
        let installation = Installation::require(|line| eprintln!("{line}"))?;
        Self::start_as(state, migrations, installation, false, ConfigFiles::Development).await
    }

    async fn start_as(
        state: State,
        migrations: Migrations<'_>,
        installation: Installation,
        durable: bool,
        files: ConfigFiles,
    ) -> Result<Self> {
        let content = workspace::content_hash(&workspace::migrations())?;
        let stamp = format!("{} {content}\n{}", installation.version.major, bootstrap::SOURCE);
        let stamp_file = state.path().join("template");
        let current = fs::read_to_string(&stamp_file).is_ok_and(|stored| stored == stamp);
        if !current {
            // Roles belong to the cluster: only a new cluster is free of roles of older migrations.
            cluster::discard(&state)?;
        }
        // Removes the logs of an earlier run, which were kept for the developer.
        let _ = fs::remove_dir_all(state.path().join("stacks"));
        let secrets = Arc::new(Secrets::keep(state.path())?);
        let certificates = Certificates::keep(&state.path().join("certificates"))?;
        keep_signing_key(&state.path().join("signing-key.pem"))?;
        let port = Port::reserve()?;
        let settings = Settings {
            port: port.number(),
            durable,
            connections: CONNECTIONS,
            files,
        };
        let cluster = Cluster::start(
            &installation,
            state.path(),
            &certificates,
            Arc::clone(&secrets),
            settings,
        )
        .await?;
        match (files, current) {
            (ConfigFiles::Production, _) => {
                let database = bootstrap(&cluster.database(SUPERUSER), PRODUCTION, migrations).await?;
                let limits = fs::read_to_string(workspace::root().join("deploy/postgres/roles.sql"))?;
                database.run(SUPERUSER, &limits).await?;
            }
            (ConfigFiles::Development, true) => drop_leftovers(&cluster).await?,
            (ConfigFiles::Development, false) => {
                bootstrap(&cluster.database(SUPERUSER), TEMPLATE, migrations).await?;
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
            files,
            _port: port,
        })
    }

    /// Returns the database `postgres`, for statements about the whole cluster.
    pub fn maintenance(&self) -> Database {
        self.cluster.database(SUPERUSER)
    }

    /// Creates a migrated database for one test. A cluster with the configuration files of production returns its one
    /// database.
    pub async fn database(&self) -> Result<TestDatabase> {
        let maintenance = self.maintenance();
        if self.files == ConfigFiles::Production {
            let database = self.cluster.database(PRODUCTION);
            return Ok(TestDatabase {
                database,
                maintenance: Some(maintenance),
            });
        }
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
            maintenance: Some(maintenance),
        };
        // A copy does not inherit the grants on the database itself.
        for file in bootstrap::database_files()? {
            test.run(ADMIN, &file).await?;
        }
        Ok(test)
    }
}

// === impl TestDatabase ===

impl TestDatabase {
    /// Returns a database that is not dropped with this value, but ends with its cluster.
    pub(crate) fn of_cluster(database: Database) -> Self {
        Self {
            database,
            maintenance: None,
        }
    }
}

impl std::ops::Deref for TestDatabase {
    type Target = Database;

    fn deref(&self) -> &Database {
        &self.database
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (Some(maintenance), name) = (self.maintenance.take(), self.name.clone()) else {
            return;
        };
        // The runtime of the test is blocked by this drop. The next run drops databases that remain.
        let dropping = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(maintenance.drop_database(&name)))
        });
        let _ = dropping.join();
    }
}

/// Drops the databases of killed tests.
async fn drop_leftovers(cluster: &Cluster) -> Result<()> {
    let maintenance = cluster.database(SUPERUSER);
    let mut superuser = maintenance.connect(SUPERUSER).await?;
    let names = "SELECT datname::text FROM pg_database WHERE datname LIKE 'test\\_%'";
    for name in sqlx::query_scalar::<_, String>(names)
        .fetch_all(&mut superuser)
        .await?
    {
        maintenance.drop_database(&name).await?;
    }
    Ok(superuser.close().await?)
}
