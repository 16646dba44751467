//! Postgres on this machine: found, or installed where it may be.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::geteuid;

/// The oldest major version that Haven runs on.
const OLDEST: u32 = 15;

/// Where systems get one whose own packages are too old.
const ELSEWHERE: &str = "https://apt.postgresql.org has newer ones.";

/// Keeps Debian's package from making and starting a cluster of its own when it is installed.
const NO_MAIN_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/haven-no-main-cluster.conf";

/// A Postgres server that is installed on this machine.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The directory of `postgres`, `initdb` and `psql`.
    pub bin: PathBuf,
    /// Its version.
    pub version: Version,
}

/// A version of Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Changes once a year.
    pub major: u32,
    /// Corrections to it.
    pub minor: u32,
}

impl Installation {
    /// Finds the newest Postgres on this machine. When there is none that is new enough, installs the system's
    /// package, as root or with a `sudo` that asks for no password; fails, naming the package, where that cannot be.
    /// `say` is told what takes a while.
    pub fn require(say: impl Fn(&str)) -> Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        install(say)?;
        Self::find().with_context(|| format!("no Postgres {OLDEST} or newer was found after installing one"))
    }

    /// The newest Postgres on this machine that is new enough.
    pub fn find() -> Option<Self> {
        let mut places: Vec<PathBuf> = Vec::new();
        // Where Debian and Ubuntu, and the packages of postgresql.org for Red Hat, keep them side by side.
        for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
            let entries = fs::read_dir(parent).into_iter().flatten().flatten();
            let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
            places.extend(named.map(|entry| entry.path().join("bin")));
        }
        if let Some(directory) = output("pg_config", &["--bindir"]) {
            places.push(directory.trim().into());
        }
        places.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
        places
            .iter()
            .filter_map(|bin| Self::at(bin))
            .max_by_key(|found| found.version)
    }

    fn at(bin: &Path) -> Option<Self> {
        // A link in `PATH` leads to where the programs and their modules really are.
        let initdb = bin.join("initdb").canonicalize().ok()?;
        let bin = initdb.parent()?;
        let version = Version::parse(&output(bin.join("postgres"), &["--version"])?)?;
        (version.major >= OLDEST).then(|| Self {
            bin: bin.to_owned(),
            version,
        })
    }

    /// What to say when the system's package sources, as far as they are known without asking the network, have a
    /// newer minor version than the one that is installed.
    pub fn outdated(&self) -> Option<String> {
        let package = format!("postgresql-{}", self.version.major);
        let candidate = candidate(&package)?;
        (candidate > self.version).then(|| {
            let sudo = if geteuid().is_root() { "" } else { "sudo " };
            format!(
                "Postgres {} is outdated: older minor versions have holes in Row Level Security. Upgrade to {candidate} \
                 with: {sudo}apt-get update && {sudo}apt-get install --only-upgrade {package}",
                self.version,
            )
        })
    }

    /// Is the module `pg_stat_statements` there?
    pub fn has_statement_statistics(&self) -> bool {
        let directory = output(self.bin.join("pg_config"), &["--pkglibdir"]).map(PathBuf::from);
        // Debian's servers come without `pg_config`; their modules lie beside their programs.
        let beside = self.bin.parent().map(|parent| parent.join("lib"));
        let mut directories = directory.into_iter().chain(beside);
        directories.any(|directory| directory.join("pg_stat_statements.so").exists())
    }
}

impl Version {
    /// Finds a version in text such as `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, or `15.18-0+deb12u1`.
    fn parse(text: &str) -> Option<Self> {
        let word = text
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let mut numbers = word.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        // A version in development, such as `19devel`, has no minor.
        let minor = numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0);
        Some(Self { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

fn install(say: impl Fn(&str)) -> Result<()> {
    let needed = format!("Haven needs the Postgres server, version {OLDEST} or newer, and found none.");
    let by_hand = "Please install it: on Debian and Ubuntu, the package is `postgresql`";
    ensure!(output("apt-get", &["--version"]).is_some(), "{needed} {by_hand}.");
    let sudo: &[&str] = if geteuid().is_root() { &[] } else { &["sudo", "-n"] };
    if let [sudo, option] = sudo {
        let allowed = output(sudo, &[option, "true"]).is_some();
        ensure!(allowed, "{needed} {by_hand} (`sudo apt-get install postgresql`).");
    }
    let run = |script: &str| {
        let words: Vec<&str> = sudo.iter().copied().chain(["sh", "-c", script]).collect();
        let status = Command::new(words[0]).args(&words[1..]).status()?;
        ensure!(
            status.success(),
            "installing Postgres failed ({status}). {by_hand}."
        );
        Ok(())
    };
    say("No Postgres here: installing the package `postgresql`, without a cluster of its own");
    run("apt-get update -qq")?;
    match candidate("postgresql") {
        Some(version) if version.major >= OLDEST => {}
        Some(old) => bail!(
            "{needed} This system's package is version {}: {ELSEWHERE}",
            old.major
        ),
        None => bail!("{needed} This system's package sources have none: {ELSEWHERE}"),
    }
    run(&format!(
        "trap 'rm -f {NO_MAIN_CLUSTER}' EXIT; mkdir -p $(dirname {NO_MAIN_CLUSTER}) && \
         echo 'create_main_cluster = false' > {NO_MAIN_CLUSTER} && \
         DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
         -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 postgresql > /dev/null"
    ))
}

/// The version that the system's package sources have to offer.
fn candidate(package: &str) -> Option<Version> {
    let policy = output("apt-cache", &["policy", package])?;
    Version::parse(
        policy
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate:"))?,
    )
}

/// What a program that succeeds prints, in English.
fn output(program: impl AsRef<Path>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program.as_ref())
        .args(arguments)
        .env("LC_ALL", "C")
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
