//! The data that SQL is checked against when there is no database at hand: what `cargo build` uses.

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

/// Write the data that SQL is checked against when there is no database at hand.
#[derive(Args)]
pub(crate) struct SqlxOffline {
    /// Change nothing, and fail when what is there is stale
    #[arg(long)]
    check: bool,
}

/// What sqlx says about each query, by the name of its file.
type Answers = BTreeMap<String, Vec<u8>>;

impl SqlxOffline {
    pub(crate) async fn run(self) -> Result<()> {
        // From the files: the services' own programs may not compile before this is done.
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
                say(format!("{name}: {} queries, brought up to date", new.len()));
            }
        }
        ensure!(
            stale.is_empty(),
            "{} is stale: run `cargo dev sql`, and commit it",
            stale.join(" and ")
        );
        Ok(())
    }
}

/// Compiles a service against a real database, and returns what sqlx found out on the way.
fn describe(service: &str, directory: &Path, url: &str) -> Result<Answers> {
    let answers = tempfile::tempdir()?;
    let source = File::options().append(true).open(directory.join("src/lib.rs"))?;
    let modified = source.metadata()?.modified()?;
    // Otherwise cargo would have nothing to do.
    source.set_modified(SystemTime::now())?;
    let mut cargo = workspace::cargo();
    cargo.args(["check", "--quiet", "--package", &format!("haven-{service}")]);
    cargo
        .env("DATABASE_URL", url)
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", answers.path());
    let status = cargo.status();
    source.set_modified(modified)?;
    match status.context("starting cargo")?.success() {
        true => read(answers.path()),
        false => bail!("haven-{service} does not compile against the migrated database"),
    }
}

fn read(directory: &Path) -> Result<Answers> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(Answers::new());
    };
    let mut answers = Answers::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("query-") && name.ends_with(".json") {
            answers.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(answers)
}

fn write(directory: &Path, old: &Answers, new: &Answers) -> Result<()> {
    fs::create_dir_all(directory)?;
    for (name, answer) in new {
        fs::write(directory.join(name), answer)?;
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        fs::remove_file(directory.join(name))?;
    }
    Ok(())
}
