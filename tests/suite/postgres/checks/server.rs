//! A server with the configuration of production, for one test at a time, and runs of `check-database` on it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Command, Output},
};

use haven_testkit::{
    binaries::Binaries, installation::Installation, secrets::SUPERUSER, template::TestCluster, user::User,
};
use serde::Deserialize;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::breakage::{Breakage, Change};
use crate::{eventually::eventually, packages};

/// The database of a cluster with the configuration of production.
const DATABASE: &str = "haven";

/// A server that one test has for itself.
pub(super) struct Server(MutexGuard<'static, Shared>);

/// The server of all tests of this module.
struct Shared {
    cluster: TestCluster,
    installation: Installation,
    /// A superuser's connection, which also lasts when the server accepts no new one.
    superuser: PgConnection,
    /// The path and the content of `pg_hba.conf`.
    access: (PathBuf, String),
    /// A file with the output of pgBackRest after a fresh backup.
    backup_info: PathBuf,
}

/// The flags of a run of `check-database`.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// The login of the program, without the schema.
    pub(super) login: &'static str,
    /// The login of the admin.
    pub(super) admin: Option<&'static str>,
    /// `ENVIRONMENT`.
    pub(super) environment: &'static str,
    /// True if the program connects without TLS.
    pub(super) plain: bool,
    /// The age of the newest backup in hours.
    pub(super) backup_age: Option<u64>,
}

/// The result of a run.
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) output: Output,
}

/// A finding in JSON.
#[derive(Debug, Deserialize)]
pub(super) struct Finding {
    pub(super) check: String,
    pub(super) outcome: String,
    #[serde(default)]
    pub(super) objects: Vec<String>,
    pub(super) needs: Option<String>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            login: "worker",
            admin: Some(SUPERUSER),
            environment: "production",
            plain: false,
            backup_age: Some(1),
        }
    }
}

impl Server {
    /// Takes the server. `None` if this system has no package of pgaudit: the test is then skipped.
    pub(super) async fn take() -> Option<Self> {
        static SHARED: OnceCell<Mutex<Shared>> = OnceCell::const_new();
        let installation = packages::or_skip(&["postgresql-15-pgaudit"], Installation::with_audit())?;
        let shared = SHARED
            .get_or_init(|| async { Mutex::new(Shared::start(installation).await) })
            .await;
        let mut shared = shared.lock().await;
        // A connection belongs to the runtime of its test.
        shared.connect().await;
        Some(Self(shared))
    }

    /// Runs `check-database --json` of `service`.
    pub(super) async fn run(&self, service: &str, run: Run) -> Report {
        let output = self.command(service, run).arg("--json").output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let findings =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON, and {error}"));
        Report { findings, output }
    }

    /// Returns the command line of `service check-database`.
    pub(super) fn command(&self, service: &str, run: Run) -> Command {
        let database = self.0.cluster.cluster.database(DATABASE);
        let url = |login: &str| {
            let url = database.url(login);
            match run.plain {
                true => url.replace("sslmode=verify-full", "sslmode=disable"),
                false => url,
            }
        };
        let mut command = Command::new(Binaries::build().unwrap().of(service));
        command
            .arg("check-database")
            .env_clear()
            .env("ENVIRONMENT", run.environment)
            .env("WORKER_DATABASE_URL", url(&format!("{service}_{}", run.login)));
        if let Some(admin) = run.admin {
            command.env("ADMIN_DATABASE_URL", url(admin));
        }
        if let Some(hours) = run.backup_age {
            fs::write(&self.0.backup_info, backup_info(hours)).unwrap();
            command.arg("--pgbackrest-info").arg(&self.0.backup_info);
        }
        command
    }

    /// Returns the superuser's URL of another database on the server.
    pub(super) fn superuser_url(&self, database: &str) -> String {
        self.0.cluster.cluster.database(database).url(SUPERUSER)
    }

    /// Returns the failed checks with their objects, after a run for `breakage`.
    pub(super) async fn failures(&self, breakage: &Breakage) -> BTreeMap<String, Vec<String>> {
        let run = Run {
            login: breakage.login,
            plain: breakage.plain,
            ..Run::default()
        };
        let report = self.run(breakage.service, run).await;
        let failures: BTreeMap<_, _> = (report.findings.into_iter())
            .filter(|finding| finding.outcome == "fail")
            .map(|finding| (finding.check, finding.objects))
            .collect();
        let code = report.output.status.code();
        assert_eq!(code, Some(i32::from(!failures.is_empty())), "{}", breakage.check);
        failures
    }

    /// Checks that every check of both programs passes.
    pub(super) async fn passes(&self) {
        for service in ["identity", "data"] {
            let Report { findings, output } = self.run(service, Run::default()).await;
            let others: Vec<_> = findings
                .iter()
                .filter(|finding| finding.outcome != "pass")
                .collect();
            assert!(others.is_empty(), "{service}: {others:#?}");
            assert_eq!(output.status.code(), Some(0));
        }
    }

    /// Breaks the server.
    pub(super) async fn apply(&mut self, change: &Change) {
        match change {
            Change::None => {}
            Change::Sql(statements, _) => self.execute(statements).await,
            Change::Settings(settings) => self.set(settings).await,
            Change::Access(line, settings) => {
                let (path, content) = &self.0.access;
                fs::write(path, format!("{line}\n{content}")).unwrap();
                self.set(settings).await;
            }
        }
    }

    /// Undoes [`Server::apply`].
    pub(super) async fn revert(&mut self, change: &Change) {
        match change {
            Change::None => {}
            Change::Sql(_, statements) => self.execute(statements).await,
            Change::Settings(settings) => self.reset(settings).await,
            Change::Access(_, settings) => {
                let (path, content) = &self.0.access;
                fs::write(path, content).unwrap();
                self.reset(settings).await;
            }
        }
    }

    /// Runs each statement as the superuser.
    pub(super) async fn execute(&mut self, statements: &[&str]) {
        for statement in statements {
            let result = sqlx::raw_sql(AssertSqlSafe(*statement))
                .execute(&mut self.0.superuser)
                .await;
            result.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// Sets settings of the server, and waits until they are in force.
    pub(super) async fn set(&mut self, settings: &[(&str, &str)]) {
        for (name, value) in settings {
            // The settings of a library are known where it is loaded.
            if let Some((library, _)) = name.split_once('.') {
                self.execute(&[&format!("LOAD '{library}'")]).await;
            }
            self.execute(&[&format!("ALTER SYSTEM SET {name} = {value}")])
                .await;
        }
        self.0.reload().await;
    }

    async fn reset(&mut self, settings: &[(&str, &str)]) {
        for (name, _) in settings {
            let statement = match *name {
                // The configuration file has commands that this machine does not.
                "archive_command" => "ALTER SYSTEM SET archive_command = '/bin/true'".to_owned(),
                name => format!("ALTER SYSTEM RESET {name}"),
            };
            self.execute(&[&statement]).await;
        }
        self.0.reload().await;
    }

    /// Waits until `query`, of a boolean, returns true.
    pub(super) async fn until(&mut self, query: &'static str) {
        let superuser = &mut self.0.superuser;
        eventually(query, async || {
            sqlx::query_scalar(query)
                .fetch_one(&mut *superuser)
                .await
                .unwrap()
        })
        .await;
    }

    /// Switches the checksums of the stopped server on or off.
    pub(super) async fn checksums(&mut self, on: bool) {
        let shared = &mut *self.0;
        let data: String = scalar(&mut shared.superuser, "SHOW data_directory").await;
        shared.cluster.cluster.stop();
        let mut tool = Command::new(shared.installation.bin.join("pg_checksums"));
        tool.arg(if on { "--enable" } else { "--disable" })
            .arg("--pgdata")
            .arg(data)
            .current_dir("/");
        if let Some(user) = User::instead_of_root().unwrap() {
            tool.uid(user.uid).gid(user.gid);
        }
        assert!(tool.output().unwrap().status.success());
        shared.restart().await;
    }
}

impl Shared {
    async fn start(installation: Installation) -> Self {
        let cluster = TestCluster::production(installation.clone()).await.unwrap();
        let mut superuser = cluster
            .cluster
            .database(DATABASE)
            .connect(SUPERUSER)
            .await
            .unwrap();
        let path: String = scalar(&mut superuser, "SHOW hba_file").await;
        let content = fs::read_to_string(&path).unwrap();
        let mut shared = Self {
            backup_info: cluster.cluster.log().with_file_name("pgbackrest-info.json"),
            cluster,
            installation,
            superuser,
            access: (path.into(), content),
        };
        // pgBackRest has no repository here. Prepared transactions are off by default, and to be broken by one.
        for setting in ["archive_command = '/bin/true'", "max_prepared_transactions = 2"] {
            let statement = format!("ALTER SYSTEM SET {setting}");
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut shared.superuser)
                .await
                .unwrap();
        }
        shared.cluster.cluster.stop();
        shared.restart().await;
        for statement in [
            "SELECT pg_stat_reset_shared('archiver')",
            "SELECT pg_switch_wal()",
        ] {
            sqlx::raw_sql(statement)
                .execute(&mut shared.superuser)
                .await
                .unwrap();
        }
        let superuser = &mut shared.superuser;
        let archived = "SELECT last_archived_time IS NOT NULL FROM pg_stat_archiver";
        eventually("a file is archived", async || scalar(superuser, archived).await).await;
        shared
    }

    /// Starts the stopped server.
    async fn restart(&mut self) {
        self.cluster.cluster.resume().await.unwrap();
        self.connect().await;
    }

    async fn connect(&mut self) {
        let database = self.cluster.cluster.database(DATABASE);
        self.superuser = database.connect(SUPERUSER).await.unwrap();
    }

    /// Makes the server read its files again. It accepts no connection until it has.
    async fn reload(&mut self) {
        let loaded = "SELECT pg_conf_load_time()::text";
        let before: String = scalar(&mut self.superuser, loaded).await;
        let _: bool = scalar(&mut self.superuser, "SELECT pg_reload_conf()").await;
        let superuser = &mut self.superuser;
        eventually("the files are loaded", async || {
            scalar::<String>(superuser, loaded).await != before
        })
        .await;
    }
}

async fn scalar<T>(connection: &mut PgConnection, query: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(query).fetch_one(connection).await.unwrap()
}

/// Returns the output of `pgbackrest info --output=json`, with a full backup of an age in hours.
fn backup_info(hours: u64) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let stop = now - hours * 3600;
    serde_json::json!([{
        "name": "haven",
        "status": { "code": 0, "message": "ok" },
        "backup": [{ "type": "full", "error": false, "timestamp": { "start": stop - 60, "stop": stop } }],
    }])
    .to_string()
}
