//! Writes the offline data of sqlx (`.sqlx`), against which `cargo build` checks SQL without a database.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    time::SystemTime,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use haven_testkit::{
    bootstrap::Migrations, secrets::SUPERUSER, state::State, template::TestCluster, workspace,
};

use crate::say;

/// Write the offline data that SQL is checked against at compile time.
#[derive(Args)]
pub(crate) struct SqlxOffline {
    /// Change nothing, and fail if the offline data is stale
    #[arg(long)]
    check: bool,
}

/// The descriptions of queries by sqlx, by file name.
type Descriptions = BTreeMap<String, Vec<u8>>;

impl SqlxOffline {
    /// Describes the queries of both services, and writes or checks their `.sqlx` directories.
    pub(crate) async fn run(self) -> Result<()> {
        // Applies the files, because the services' programs may not compile before the offline data is written.
        let cluster = TestCluster::start(State::take_any("sql")?, Migrations::Files).await?;
        let database = cluster.database().await?;
        let mut stale = Vec::new();
        for service in ["identity", "data"] {
            let directory = workspace::root().join("services").join(service);
            let committed = directory.join(".sqlx");
            let (old, new) = (
                read(&committed)?,
                describe(service, &directory, &database.url(SUPERUSER))?,
            );
            let name = format!("services/{service}/.sqlx");
            if old == new {
                say(format!("{name}: {} queries, up to date", new.len()));
            } else if self.check {
                stale.push(name);
            } else {
                write(&committed, &old, &new)?;
                say(format!("{name}: {} queries, updated", new.len()));
            }
        }
        ensure!(
            stale.is_empty(),
            "{} is stale: run `cargo dev sql`, and commit the result",
            stale.join(" and ")
        );
        Ok(())
    }
}

/// Compiles a service against the database at `url`, and returns the descriptions that sqlx writes meanwhile.
fn describe(service: &str, directory: &Path, url: &str) -> Result<Descriptions> {
    let output = tempfile::tempdir()?;
    let source = File::options().append(true).open(directory.join("src/lib.rs"))?;
    let modified = source.metadata()?.modified()?;
    // Makes cargo compile the crate again.
    source.set_modified(SystemTime::now())?;
    let mut cargo = workspace::cargo();
    cargo.args(["check", "--quiet", "--package", &format!("haven-{service}")]);
    cargo
        .env("DATABASE_URL", url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", output.path());
    let status = cargo.status();
    source.set_modified(modified)?;
    match status.context("starting cargo")?.success() {
        true => read(output.path()),
        false => bail!("haven-{service} does not compile against the migrated database"),
    }
}

/// Reads the descriptions in `directory`. There are none if it does not exist.
fn read(directory: &Path) -> Result<Descriptions> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(Descriptions::new());
    };
    let mut descriptions = Descriptions::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("query-") && name.ends_with(".json") {
            descriptions.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(descriptions)
}

/// Writes the descriptions `new` to `directory`, and removes files of `old` that are not among them.
fn write(directory: &Path, old: &Descriptions, new: &Descriptions) -> Result<()> {
    fs::create_dir_all(directory)?;
    for (name, description) in new {
        fs::write(directory.join(name), description)?;
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        fs::remove_file(directory.join(name))?;
    }
    Ok(())
}
