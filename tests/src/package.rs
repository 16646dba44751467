//! Servers that tests need beside Postgres, from the packages of Debian and Ubuntu.
//!
//! A package is downloaded and unpacked below the state directory, and its programs run from there. Nothing is installed:
//! it needs no rights, replaces no version of the system, and starts no service.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{process, random, state, user::User};

/// Packages that are unpacked into one directory, together with the libraries that this system lacks for them.
#[derive(Clone, Debug)]
pub struct Package {
    root: PathBuf,
}

impl Package {
    /// Unpacks `names`, and what they depend on and this system lacks, unless an earlier run did.
    ///
    /// # Errors
    ///
    /// If this system has no apt, or the package sources have no such package, or the download fails. The error names
    /// the packages.
    pub fn unpack(names: &[&str]) -> Result<Self> {
        let all = names.join(" ");
        Self::try_unpack(names).with_context(|| format!("the package {all} is needed"))
    }

    fn try_unpack(names: &[&str]) -> Result<Self> {
        let mut files = Vec::new();
        for name in names {
            let version = candidate(name)?;
            files.push(format!("{name}_{version}"));
        }
        let root = keep(&files.join("+").replace([':', '/'], "_"), |draft| {
            fetch(names, draft)
        })?;
        Ok(Self { root })
    }

    /// Returns the path of a file of the packages, such as `usr/sbin/pgbouncer`.
    pub fn path(&self, file: impl AsRef<Path>) -> PathBuf {
        self.root.join(file)
    }

    /// Returns a command that runs a program of the packages, with their libraries. Root runs it as another user, as it
    /// does Postgres.
    ///
    /// # Errors
    ///
    /// If the packages have no such program.
    pub fn command(&self, program: &str) -> Result<Command> {
        let path = self.path(program);
        ensure!(path.exists(), "{} is missing", path.display());
        let user = User::instead_of_root()?;
        let mut command = process::command(path, user.as_ref(), process::OnDeath::Kill);
        command.env("LD_LIBRARY_PATH", self.libraries()?).current_dir("/");
        Ok(command)
    }

    /// Returns the directories of the packages' libraries, as `LD_LIBRARY_PATH` has them.
    ///
    /// # Errors
    ///
    /// If a directory has a colon in its name.
    pub fn libraries(&self) -> Result<std::ffi::OsString> {
        let mut directories = Vec::new();
        for parent in [self.path("usr/lib"), self.path("lib")] {
            let entries = fs::read_dir(&parent).into_iter().flatten().flatten();
            let triplets = entries.map(|entry| entry.path());
            directories.extend(triplets.filter(|path| path.to_string_lossy().contains("-linux-gnu")));
        }
        Ok(env::join_paths(directories)?)
    }
}

/// Returns the directory `name` of the state directory's packages. Unless an earlier run did, it is filled first: `fill` writes
/// its content to `root` in a directory for this process alone.
///
/// # Errors
///
/// Those of `fill`.
pub(crate) fn keep(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let parent = state::directory("packages");
    let kept = parent.join(name);
    if kept.exists() {
        return Ok(kept);
    }
    let draft = parent.join(format!("draft-{}", random::uuid().simple()));
    fs::create_dir_all(draft.join("root"))?;
    let filled = fill(&draft).and_then(|()| {
        make_readable(&draft)?;
        // Another process may unpack the same packages at the same time: the first rename wins.
        match fs::rename(draft.join("root"), &kept) {
            Err(error) if !kept.exists() => Err(error).context("moving the unpacked packages"),
            _ => Ok(()),
        }
    });
    let _ = fs::remove_dir_all(&draft);
    filled.map(|()| kept)
}

/// Returns the version of `name` in the package sources of this system.
fn candidate(name: &str) -> Result<String> {
    let policy = run(Command::new("apt-cache").args(["policy", name]))?;
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"))
        .map(str::trim);
    match version {
        Some(version) if version != "(none)" => Ok(version.to_owned()),
        _ => bail!("the package sources of this system have no {name} (after `apt-get update`)"),
    }
}

/// Downloads `names` and what they depend on, and unpacks all into `root` below `draft`.
fn fetch(names: &[&str], draft: &Path) -> Result<()> {
    let simulate = ["install", "--simulate", "--no-install-recommends"];
    // Lines such as `Inst libc-ares2 (1.18.1-3 Debian:12.15/oldstable [amd64])`.
    let plan = run(Command::new("apt-get").args(simulate).args(names))?;
    let missing = plan
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next());
    let mut all: Vec<&str> = missing.chain(names.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    run(Command::new("apt-get")
        .args(["download", "-o", "Acquire::Retries=3"])
        .args(all)
        .current_dir(draft))?;
    for entry in fs::read_dir(draft)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb")
                .arg("--extract")
                .arg(&file)
                .arg(draft.join("root")))?;
        }
    }
    Ok(())
}

/// Makes `directory` readable for the user that programs of root run as.
fn make_readable(directory: &Path) -> Result<()> {
    run(Command::new("chmod").args(["-R", "a+rX"]).arg(directory)).map(drop)
}

/// Runs a command in the locale `C`, and returns its standard output. The error has its standard error.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env("LC_ALL", "C")
        .output()
        .with_context(|| format!("starting {name}"))?;
    ensure!(
        output.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
