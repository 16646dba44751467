//! A repository of pgBackRest, and the scripts of `deploy/backup` as Postgres' user runs them.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use haven_testkit::{
    binaries::Binaries, cluster::Cluster, database::Database, installation::Installation, package::Package,
    process, random, user::User, workspace,
};
use serde_json::Value;

use crate::packages;

/// The packages of the programs that the scripts need beside Postgres.
const PACKAGES: [&str; 2] = ["pgbackrest", "jq"];

/// A repository, with the configuration of `deploy/backup` and a passphrase of its own. Dropping it deletes it.
pub(crate) struct Archive {
    package: Package,
    installation: Installation,
    directory: PathBuf,
    user: Option<User>,
}

impl Archive {
    /// Creates a repository, and an installation of Postgres with pgaudit that finds `pgbackrest`. `None` when the packages
    /// cannot be had: the test is then skipped.
    pub(crate) fn prepare() -> Option<(Self, Installation)> {
        let mut installation = packages::or_skip(&["postgresql-15-pgaudit"], Installation::with_audit())?;
        let package = packages::require(&PACKAGES)?;
        // Postgres' socket needs a short path.
        let directory = std::env::temp_dir().join(format!(
            "haven-backup-{}",
            &random::uuid().simple().to_string()[..12]
        ));
        let archive = Self {
            package,
            installation: installation.clone(),
            directory,
            user: User::instead_of_root().unwrap(),
        };
        for part in ["", "bin", "conf.d", "repository", "lock", "work"] {
            let path = archive.path(part);
            fs::create_dir_all(&path).unwrap();
            archive.own(&path, 0o755);
        }
        let root = workspace::root().join("deploy/backup");
        archive.write(
            "pgbackrest.conf",
            &fs::read_to_string(root.join("pgbackrest.conf")).unwrap(),
        );
        archive.set_passphrase(&format!("passphrase-{}", random::uuid()));
        for script in ["backup", "restore", "dump"] {
            fs::copy(root.join(script), archive.path("bin").join(script)).unwrap();
        }
        let binaries = Binaries::build().unwrap();
        for program in ["identity", "data"] {
            let to = archive.path("bin").join(program);
            // Another file system needs a copy.
            fs::hard_link(binaries.of(program), &to)
                .or_else(|_| fs::copy(binaries.of(program), &to).map(drop))
                .unwrap();
        }
        archive.wrap("jq", "usr/bin/jq", "");
        installation.environment = vec![("PATH".to_owned(), archive.search_path())];
        Some((archive, installation))
    }

    /// Makes `cluster`, with its database `haven`, the one that is backed up, and creates the stanza.
    pub(crate) fn attach(&self, cluster: &Cluster, database: &Database) {
        self.configure(cluster, database);
        let created = self.backrest(&["stanza-create"]);
        assert!(created.status.success(), "{created:?}");
    }

    /// Writes the program `pgbackrest` with what depends on this machine: paths and ports.
    fn configure(&self, cluster: &Cluster, database: &Database) {
        let at = |part: &str| self.path(part).display().to_string();
        let variables = [
            ("CONFIG", at("pgbackrest.conf")),
            ("CONFIG_INCLUDE_PATH", at("conf.d")),
            ("REPO1_PATH", at("repository")),
            ("LOCK_PATH", at("lock")),
            ("CMD", at("bin/pgbackrest")),
            ("PG1_PATH", cluster.data().display().to_string()),
            ("PG1_SOCKET_PATH", cluster.socket().display().to_string()),
            ("PG1_PORT", database.port.to_string()),
        ];
        let exports: String = variables
            .iter()
            .map(|(name, value)| format!("export PGBACKREST_{name}='{value}'\n"))
            .collect();
        self.wrap("pgbackrest", "usr/bin/pgbackrest", &exports);
        self.write(
            "connection",
            &format!("{}\n{}", cluster.socket().display(), database.port),
        );
        // pg_ident.conf names the user of production's operating system.
        let name = Command::new("id").arg("-un").output().unwrap().stdout;
        let name = match &self.user {
            Some(_) => "postgres".to_owned(),
            None => String::from_utf8(name).unwrap().trim().to_owned(),
        };
        let ident = cluster.data().join("pg_ident.conf");
        let map = fs::read_to_string(&ident).unwrap();
        fs::write(
            &ident,
            map.replace("backup     postgres", &format!("backup     {name}")),
        )
        .unwrap();
        let access = cluster.data().join("pg_hba.conf");
        let rules = fs::read_to_string(&access).unwrap();
        if self.user.is_none() {
            // Here the superuser has not the name of the operating system's user.
            let rules = rules.replace(" peer\n", " trust\n");
            fs::write(&access, rules).unwrap();
        }
        let reloaded = self
            .command("pg_ctl")
            .args(["reload", "--pgdata"])
            .arg(cluster.data())
            .output();
        assert!(reloaded.as_ref().unwrap().status.success(), "{reloaded:?}");
    }

    /// Returns the path of a file in this archive's directory.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// Sets the passphrase of the repository; the empty string removes its file.
    pub(crate) fn set_passphrase(&self, passphrase: &str) {
        let _ = fs::remove_file(self.path("conf.d/passphrase.conf"));
        if !passphrase.is_empty() {
            self.write(
                "conf.d/passphrase.conf",
                &format!("[global]\nrepo1-cipher-pass={passphrase}\n"),
            );
        }
    }

    /// Returns the passphrase of the repository.
    pub(crate) fn passphrase(&self) -> String {
        let file = fs::read_to_string(self.path("conf.d/passphrase.conf")).unwrap();
        file.trim().rsplit_once('=').unwrap().1.to_owned()
    }

    /// Returns a command that runs a program as Postgres' user: a script, or one that the scripts find.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = process::command(program, self.user.as_ref(), process::OnDeath::Kill);
        let connection = fs::read_to_string(self.path("connection")).unwrap_or_default();
        let (socket, port) = connection.split_once('\n').unwrap_or_default();
        command
            .current_dir(self.path("work"))
            // libpq looks for certificates in it, and fails where it may not look.
            .env("HOME", self.path("work"))
            .env("PATH", self.search_path())
            .env("PG_BIN", &self.installation.bin)
            .env("HAVEN_BIN", self.path("bin"))
            .env("PGHOST", socket)
            .env("PGPORT", port);
        command
    }

    /// Runs pgBackRest on the stanza.
    pub(crate) fn backrest(&self, arguments: &[&str]) -> Output {
        let mut command = self.command("pgbackrest");
        command.arg("--stanza=haven").args(arguments).output().unwrap()
    }

    /// Returns what pgBackRest knows of the stanza.
    pub(crate) fn info(&self) -> Value {
        let output = self.backrest(&["--log-level-console=warn", "--output=json", "info"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()[0].clone()
    }

    /// Makes a backup with the script, and fails unless it succeeds.
    pub(crate) fn back_up(&self, kind: &str) {
        let output = self.command("backup").arg(kind).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
    }

    /// Writes a file that only Postgres' user can read.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        self.own(&path, 0o600);
        path
    }

    /// Writes a program that runs one of the packages with their libraries.
    fn wrap(&self, name: &str, program: &str, exports: &str) {
        let libraries = self.package.libraries().unwrap();
        let script = format!(
            "#!/bin/sh\nexport LD_LIBRARY_PATH='{}'\n{exports}exec '{}' \"$@\"\n",
            libraries.display(),
            self.package.path(program).display(),
        );
        let path = self.path("bin").join(name);
        // A new file, because the old one may be running.
        let draft = path.with_extension("draft");
        fs::write(&draft, script).unwrap();
        self.own(&draft, 0o755);
        fs::rename(draft, path).unwrap();
    }

    /// Sets the mode of `path`, and makes Postgres' user its owner.
    pub(crate) fn own(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        if let Some(user) = &self.user {
            chown(path, Some(user.uid), Some(user.gid)).unwrap();
        }
    }

    fn search_path(&self) -> String {
        let rest = std::env::var_os("PATH").unwrap_or_default();
        let first = [self.path("bin"), self.installation.bin.clone()];
        let all = first.into_iter().chain(std::env::split_paths(&rest));
        let joined = std::env::join_paths(all).unwrap();
        OsStr::to_str(&joined).unwrap().to_owned()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Returns everything that a program wrote.
pub(crate) fn text(output: &Output) -> String {
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}
