//! From an empty cluster to Haven's database: roles, schemas, migrations, passwords.
//!
//! Everything can be done again, and then changes nothing. The admin, who is no superuser, does what an admin of a hosted
//! Postgres could do; the superuser makes the admin, and the two grants that Postgres 15 leaves to a superuser.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};
use sqlx::{AssertSqlSafe, Connection, migrate::Migrator};
use tokio::process::Command;

use crate::{
    binaries::Binaries,
    cluster::Cluster,
    database::Database,
    secrets::{ADMIN, SUPERUSER},
    workspace,
};

/// This file, so that a template is made anew when the way of making it changes.
pub(crate) const SOURCE: &str = include_str!("bootstrap.rs");

/// Who runs the migrations of the services.
#[derive(Clone, Copy)]
pub enum Migrations<'a> {
    /// The services' own programs, as in production.
    Programs(&'a Binaries),
    /// This process, from the files: for making the very data that the programs need to compile.
    Files,
}

/// Brings the database called `name` up to date, and makes it first when there is none.
pub async fn bootstrap(cluster: &Cluster, name: &str, migrations: Migrations<'_>) -> Result<Database> {
    let database = cluster.database(name);
    create(cluster, &database).await?;
    for file in cluster_files("")? {
        database.run(ADMIN, &file).await.context("migrations/cluster")?;
    }
    finish_roles(&database).await?;
    let (identity, data) = tokio::join!(
        migrate(&database, "identity", migrations),
        migrate(&database, "data", migrations)
    );
    identity.context("migrations/identity")?;
    data.context("migrations/data")?;
    Ok(database)
}

/// What of the cluster's files belongs to each single database, and is therefore not in the copy of one.
pub(crate) fn database_files() -> Result<Vec<String>> {
    cluster_files("_database.sql")
}

fn cluster_files(ending: &str) -> Result<Vec<String>> {
    let paths = workspace::files(&workspace::migrations().join("cluster"))?;
    let chosen = paths
        .iter()
        .filter(|path| path.to_string_lossy().ends_with(ending));
    chosen
        .map(|path| fs::read_to_string(path).with_context(|| format!("reading {}", path.display())))
        .collect()
}

async fn create(cluster: &Cluster, database: &Database) -> Result<()> {
    let maintenance = cluster.database(SUPERUSER);
    let mut superuser = maintenance.connect(SUPERUSER).await?;
    // Otherwise the passwords below would be kept among the statements.
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

/// What only a superuser may do, and the passwords of the logins that have none yet.
async fn finish_roles(database: &Database) -> Result<()> {
    let mut superuser = database.connect(SUPERUSER).await?;
    let statements = "SET pg_stat_statements.track_utility = off; SET client_min_messages = warning; \
                      ALTER ROLE haven_backup REPLICATION; GRANT pg_monitor TO haven_monitor";
    sqlx::raw_sql(statements)
        .execute(&mut superuser)
        .await
        .context("finishing the roles")?;
    let without = "SELECT rolname::text FROM pg_authid WHERE rolcanlogin AND rolpassword IS NULL";
    for login in sqlx::query_scalar::<_, String>(without)
        .fetch_all(&mut superuser)
        .await?
    {
        let password = database.secrets.password(&login);
        let alter = format!("ALTER ROLE {login} PASSWORD '{password}'");
        sqlx::query(AssertSqlSafe(alter)).execute(&mut superuser).await?;
    }
    Ok(superuser.close().await?)
}

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
    // A program holds the migrations that were there when it was compiled.
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
        "{present} migrations in {}, and {applied} applied",
        files.display()
    );
    Ok(superuser.close().await?)
}

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
    let said = || [output.stdout.as_slice(), b"\n", &output.stderr].concat();
    ensure!(
        output.status.success(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&said())
    );
    Ok(())
}
