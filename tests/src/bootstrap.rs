//! Sets up the database of Haven in an empty cluster: roles, schemas, migrations, passwords.
//!
//! Every step is idempotent. The admin, which is not a superuser, does everything that an admin of a hosted Postgres
//! can do. The superuser creates the admin, and does the grants that some versions reserve to superusers.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, migrate::Migrator};
use tokio::process::Command;

use crate::{
    binaries::Binaries,
    database::Database,
    secrets::{ADMIN, SUPERUSER},
    workspace,
};

/// The source of this file. A template is recreated when it changes.
pub(crate) const SOURCE: &str = include_str!("bootstrap.rs");

/// The grants that some versions of Postgres reserve to superusers, and the functions of large objects that only a superuser
/// takes from PUBLIC. Those on functions are of one database.
pub const SUPERUSER_GRANTS: &str = "
    GRANT pg_monitor TO haven_monitor;
    GRANT pg_read_all_settings TO haven_backup;
    GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean),
        pg_create_restore_point(text), pg_switch_wal() TO haven_backup;
    DO $$
    DECLARE
        called regprocedure;
    BEGIN
        FOR called IN SELECT p.oid FROM pg_proc AS p
            WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ '^(lo_.*|loread|lowrite)$'
        LOOP
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', called);
        END LOOP;
    END
    $$";

/// The way to run the migrations of the services.
#[derive(Clone, Copy)]
pub enum Migrations<'a> {
    /// Runs the `migrate` commands of the services, as in production.
    Programs(&'a Binaries),
    /// Runs the migrations in this process, from the files. Offline data for SQL is made this way, because the services
    /// need it to compile.
    Files,
}

/// Creates the database `name` if it does not exist, and migrates it. `maintenance` is the database `postgres` of the same
/// cluster.
///
/// # Errors
///
/// If a step fails, or if the applied migrations are not those of this checkout.
pub async fn bootstrap(maintenance: &Database, name: &str, migrations: Migrations<'_>) -> Result<Database> {
    let database = Database {
        name: name.to_owned(),
        ..maintenance.clone()
    };
    create(maintenance, &database).await?;
    for file in cluster_files("")? {
        database.run(ADMIN, &file).await.context("migrations/cluster")?;
    }
    finish_roles(&database).await?;
    let identity = async {
        migrate(&database, "identity", migrations)
            .await
            .context("migrations/identity")
    };
    let data = async {
        migrate(&database, "data", migrations)
            .await
            .context("migrations/data")
    };
    match migrations {
        Migrations::Programs(_) => tokio::try_join!(identity, data)?,
        // The runner of sqlx waits for its turn in a statement, for which a concurrent build of an index waits.
        Migrations::Files => (identity.await?, data.await?),
    };
    Ok(database)
}

/// Returns the scripts of `migrations/cluster` that set up a single database. A copy of a database does not include
/// their effects.
pub(crate) fn database_files() -> Result<Vec<String>> {
    cluster_files("_database.sql")
}

/// Returns the scripts of `migrations/cluster` with names that end in `ending`, in order.
fn cluster_files(ending: &str) -> Result<Vec<String>> {
    let paths = workspace::files(&workspace::migrations().join("cluster"))?;
    let chosen = paths
        .iter()
        .filter(|path| path.to_string_lossy().ends_with(ending));
    chosen
        .map(|path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display())))
        .collect()
}

/// Creates the admin role and the database if they do not exist.
async fn create(maintenance: &Database, database: &Database) -> Result<()> {
    let mut superuser = maintenance.connect(SUPERUSER).await?;
    // Keeps the passwords below out of the statement statistics.
    sqlx::query("SET pg_stat_statements.track_utility = off")
        .execute(&mut superuser)
        .await?;
    let modules = "SELECT current_setting('shared_preload_libraries') LIKE '%pg_stat_statements%'";
    if sqlx::query_scalar(modules).fetch_one(&mut superuser).await? {
        sqlx::query("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            .execute(&mut superuser)
            .await?;
    }
    let roles = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)";
    if !sqlx::query_scalar::<_, bool>(roles)
        .bind(ADMIN)
        .fetch_one(&mut superuser)
        .await?
    {
        let password = database.secrets.password(ADMIN);
        let role = format!("CREATE ROLE {ADMIN} LOGIN CREATEROLE CREATEDB PASSWORD '{password}'");
        sqlx::query(AssertSqlSafe(role)).execute(&mut superuser).await?;
    }
    let databases = "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)";
    if !sqlx::query_scalar::<_, bool>(databases)
        .bind(&database.name)
        .fetch_one(&mut superuser)
        .await?
    {
        let create = format!(r#"CREATE DATABASE "{}" OWNER {ADMIN}"#, database.name);
        sqlx::query(AssertSqlSafe(create)).execute(&mut superuser).await?;
    }
    Ok(superuser.close().await?)
}

/// Does the grants that need a superuser, and sets the passwords of logins that have none.
async fn finish_roles(database: &Database) -> Result<()> {
    let mut superuser = database.connect(SUPERUSER).await?;
    let statements = format!(
        "SET pg_stat_statements.track_utility = off; SET client_min_messages = warning; {SUPERUSER_GRANTS}"
    );
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(&mut superuser)
        .await
        .context("finishing the roles")?;
    let logins_without_password =
        "SELECT rolname::text FROM pg_authid WHERE rolcanlogin AND rolpassword IS NULL";
    for login in sqlx::query_scalar::<_, String>(logins_without_password)
        .fetch_all(&mut superuser)
        .await?
    {
        let password = database.secrets.password(&login);
        let alter = format!("ALTER ROLE {login} PASSWORD '{password}'");
        sqlx::query(AssertSqlSafe(alter)).execute(&mut superuser).await?;
    }
    Ok(superuser.close().await?)
}

/// Runs the migrations of `service`, and checks that all of them are applied.
async fn migrate(database: &Database, service: &str, migrations: Migrations<'_>) -> Result<()> {
    let (owner, files) = (format!("{service}_owner"), workspace::migrations().join(service));
    match migrations {
        Migrations::Programs(binaries) => run_program(binaries.of(service), database.url(&owner)).await?,
        Migrations::Files => {
            let mut migrator = Migrator::new(files.as_path()).await?;
            migrator.dangerous_set_table_name(format!("{service}._sqlx_migrations"));
            migrator
                .run_direct(None, &mut database.connect(&owner).await?, false)
                .await?;
        }
    }
    // A program contains the migrations of the time at which it was compiled.
    let table = format!("SELECT count(*) FROM {service}._sqlx_migrations WHERE success");
    let mut superuser = database.connect(SUPERUSER).await?;
    let applied: i64 = sqlx::query_scalar(AssertSqlSafe(table))
        .fetch_one(&mut superuser)
        .await?;
    let present = workspace::files(&files)?
        .iter()
        .filter(|path| path.to_string_lossy().ends_with(".up.sql"))
        .count();
    ensure!(
        applied == present as i64,
        "{} has {present} migrations, but {applied} are applied",
        files.display()
    );
    Ok(superuser.close().await?)
}

/// Runs `program migrate` with the database `url`.
async fn run_program(program: &Path, url: String) -> Result<()> {
    let mut command = Command::new(program);
    command
        .arg("migrate")
        .env_clear()
        .env("MIGRATION_DATABASE_URL", url)
        .env("ENVIRONMENT", "development");
    let output = command
        .stdin(Stdio::null())
        .output()
        .await
        .context("starting the migration")?;
    let output_text = || [output.stdout.as_slice(), b"\n", &output.stderr].concat();
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&output_text())
    );
    Ok(())
}
