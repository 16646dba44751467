//! Finds the Postgres server on this machine, or installs it.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::geteuid;

use crate::{package::Package, release};

/// The oldest major version that Haven runs on.
const OLDEST: u32 = 15;

/// The variable that chooses the Postgres of all tests and of `cargo dev`: a major version, such as `18`, or a directory of
/// programs. Without it, the newest on this machine is used.
pub const CHOICE: &str = "HAVEN_POSTGRES";

/// The source of newer packages for systems with old ones.
const ELSEWHERE: &str = "https://apt.postgresql.org has newer ones.";

/// A setting that keeps Debian's package from creating and starting a cluster when it is installed.
const NO_MAIN_CLUSTER: &str = "/etc/postgresql-common/createcluster.d/haven-no-main-cluster.conf";

/// A Postgres server on this machine.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The directory of `postgres`, `initdb` and `psql`.
    pub bin: PathBuf,
    /// The version of the server.
    pub version: Version,
    /// Environment variables of the server process beside those of this process.
    pub environment: Vec<(String, String)>,
}

/// A version of Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major version, which changes once a year.
    pub major: u32,
    /// The minor version, which only has corrections.
    pub minor: u32,
}

impl Installation {
    /// Returns the Postgres that [`CHOICE`] chooses, or else the newest on this machine. If there is none of version 15 or
    /// newer, installs the package of the system, as root or with a `sudo` that needs no password. `say` is called with a
    /// message before a slow step.
    ///
    /// # Errors
    ///
    /// If Postgres cannot be installed. The error names the package.
    pub fn require(say: impl Fn(&str)) -> Result<Self> {
        if let Ok(choice) = env::var(CHOICE) {
            let chosen = match choice.parse() {
                Ok(major) => Self::of_major(major),
                Err(_) => Self::at(Path::new(&choice))
                    .with_context(|| format!("{choice} has no Postgres {OLDEST} or newer")),
            };
            return chosen.with_context(|| format!("{CHOICE}={choice}"));
        }
        if let Some(installation) = Self::find() {
            return Ok(installation);
        }
        install(say)?;
        Self::find().with_context(|| format!("no Postgres {OLDEST} or newer was found after installing one"))
    }

    /// Returns the newest minor version of `major` that can be had: this machine's, or the release of PyPI, which is downloaded
    /// below the state directory.
    ///
    /// # Errors
    ///
    /// If this machine has none, and the release cannot be had. The error names the package.
    pub fn of_major(major: u32) -> Result<Self> {
        let installed = Self::all()
            .into_iter()
            .filter(|installation| installation.version.major == major);
        if let Some(installation) = installed.max_by_key(|installation| installation.version) {
            return Ok(installation);
        }
        let bin = release::programs(major)?;
        Self::at(&bin).with_context(|| {
            format!(
                "{} does not run: the libraries of the system's server package are needed (`postgresql`)",
                bin.join("postgres").display()
            )
        })
    }

    /// Returns the newest Postgres on this machine, or `None` if there is none of version 15 or newer.
    pub fn find() -> Option<Self> {
        Self::all()
            .into_iter()
            .max_by_key(|installation| installation.version)
    }

    /// Returns every Postgres on this machine of version 15 or newer.
    fn all() -> Vec<Self> {
        let mut directories: Vec<PathBuf> = Vec::new();
        // The directories of Debian and Ubuntu, and of the packages of postgresql.org for Red Hat.
        for (parent, prefix) in [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")] {
            let entries = fs::read_dir(parent).into_iter().flatten().flatten();
            let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
            directories.extend(named.map(|entry| entry.path().join("bin")));
        }
        if let Some(directory) = output("pg_config", &["--bindir"]) {
            directories.push(directory.trim().into());
        }
        directories.extend(env::var_os("PATH").iter().flat_map(env::split_paths));
        directories.iter().filter_map(|bin| Self::at(bin)).collect()
    }

    /// Returns a server of the newest installed major version with the extension pgaudit, from packages that are unpacked
    /// for it: the system's own server stays as it is.
    ///
    /// # Errors
    ///
    /// If no Postgres is installed, or if its packages cannot be unpacked.
    pub fn with_audit() -> Result<Self> {
        let major = Self::find().context("Postgres is not installed")?.version.major;
        let (server, extension) = (
            format!("postgresql-{major}"),
            format!("postgresql-{major}-pgaudit"),
        );
        let package = Package::unpack(&[&server, &extension])?;
        let bin = package.path(format!("usr/lib/postgresql/{major}/bin"));
        Self::at(&bin).with_context(|| format!("{} has no Postgres server", bin.display()))
    }

    /// Returns the installation with the programs in `bin`, or `None` if there is none or it is too old.
    fn at(bin: &Path) -> Option<Self> {
        // Follows links in `PATH`, because the modules are next to the programs themselves.
        let initdb = bin.join("initdb").canonicalize().ok()?;
        let bin = initdb.parent()?;
        let version = Version::parse(&output(bin.join("postgres"), &["--version"])?)?;
        (version.major >= OLDEST).then(|| Self {
            bin: bin.to_owned(),
            version,
            environment: Vec::new(),
        })
    }

    /// Returns advice if the package sources of the system have a newer minor version than the installed one. It reads
    /// the local package index, and does not use the network.
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

    /// Returns true if the module `pg_stat_statements` is installed.
    pub fn has_statement_statistics(&self) -> bool {
        let directory = output(self.bin.join("pg_config"), &["--pkglibdir"]).map(PathBuf::from);
        // Debian's servers have no `pg_config`. Their modules are next to their programs.
        let sibling = self.bin.parent().map(|parent| parent.join("lib"));
        let mut directories = directory.into_iter().chain(sibling);
        directories.any(|directory| directory.join("pg_stat_statements.so").exists())
    }
}

impl Version {
    /// Parses the version in a text such as `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, or
    /// `15.18-0+deb12u1`.
    fn parse(text: &str) -> Option<Self> {
        let word = text
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        let mut numbers = word.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        // A development version such as `19devel` has no minor version.
        let minor = numbers.next().and_then(|minor| minor.parse().ok()).unwrap_or(0);
        Some(Self { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Installs the Postgres package of the system.
fn install(say: impl Fn(&str)) -> Result<()> {
    let needed = format!("Haven needs the Postgres server, version {OLDEST} or newer, but none was found.");
    let by_hand = "Please install it. On Debian and Ubuntu, the package is `postgresql`";
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
    say("Postgres is not installed. Installing the package `postgresql`, without its default cluster");
    run("apt-get update -qq")?;
    match candidate("postgresql") {
        Some(version) if version.major >= OLDEST => {}
        Some(old) => bail!(
            "{needed} The package of this system has version {}: {ELSEWHERE}",
            old.major
        ),
        None => bail!("{needed} The package sources of this system have none: {ELSEWHERE}"),
    }
    run(&format!(
        "trap 'rm -f {NO_MAIN_CLUSTER}' EXIT; mkdir -p $(dirname {NO_MAIN_CLUSTER}) && \
         echo 'create_main_cluster = false' > {NO_MAIN_CLUSTER} && \
         DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
         -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 postgresql > /dev/null"
    ))
}

/// Returns the version of `package` in the package sources of the system.
fn candidate(package: &str) -> Option<Version> {
    let policy = output("apt-cache", &["policy", package])?;
    Version::parse(
        policy
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate:"))?,
    )
}

/// Runs a program with the locale `C`, and returns its trimmed standard output, or `None` if it fails.
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
