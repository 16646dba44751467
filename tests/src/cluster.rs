//! A private Postgres cluster. It never runs as root, listens on loopback with TLS only, and ends with the process that
//! started it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    certificates::Certificates,
    database::Database,
    installation::Installation,
    port,
    process::{OnDeath, Process, command},
    secrets::{SUPERUSER, Secrets},
    state::State,
    user::User,
    workspace,
};

/// The time that Postgres gets to start. It is long, because a server recovers first after a crash.
const START: Duration = Duration::from_secs(60);
/// The time that Postgres gets to stop.
const STOP: Duration = Duration::from_secs(15);

/// The settings of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The port to listen on.
    pub port: u16,
    /// True if an acknowledged commit survives a power failure, which tests do not need. The commit survives `kill -9`
    /// in any case.
    pub durable: bool,
    /// The maximum number of connections.
    pub connections: u32,
    /// The configuration files.
    pub files: ConfigFiles,
}

/// The configuration files of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigFiles {
    /// Those of `initdb`, and a `pg_hba.conf` that lets all logins in over TLS on loopback.
    Development,
    /// Those of `deploy/postgres`, unchanged. Only addresses, the port, the socket and the size of the write-ahead log are set
    /// beside them. The installation needs the extension pgaudit: see [`Installation::with_audit`].
    Production,
}

/// A running cluster. Dropping it stops it cleanly.
///
/// The caller holds the [`State`] with its directory, so that no two processes start the same cluster.
pub struct Cluster {
    installation: Installation,
    directory: PathBuf,
    settings: Settings,
    certificates: Certificates,
    secrets: Arc<Secrets>,
    user: Option<User>,
    server: Option<Process>,
}

impl Cluster {
    /// Starts the cluster in `directory`, and creates it if it does not exist.
    ///
    /// # Errors
    ///
    /// If the server does not start within a minute, or if the cluster was created by another major version.
    pub async fn start(
        installation: &Installation,
        directory: &Path,
        certificates: &Certificates,
        secrets: Arc<Secrets>,
        settings: Settings,
    ) -> Result<Self> {
        let mut cluster = Self {
            installation: installation.clone(),
            directory: directory.to_owned(),
            settings,
            certificates: certificates.clone(),
            secrets,
            user: User::instead_of_root()?,
            server: None,
        };
        if !cluster.data().join("PG_VERSION").exists() {
            cluster.initialise()?;
        }
        cluster.check_version()?;
        cluster.write_files()?;
        cluster.resume().await?;
        Ok(cluster)
    }

    /// Starts the server after [`kill`](Self::kill) or [`stop`](Self::stop).
    pub async fn resume(&mut self) -> Result<()> {
        end_orphan(&self.directory)?;
        let limit = Instant::now() + START;
        self.launch()?;
        let database = self.database(SUPERUSER);
        while let Err(error) = database.connect(SUPERUSER).await {
            let Some(server) = &mut self.server else {
                bail!("Postgres was not started")
            };
            if server.ended().is_some() {
                // The child processes of a killed server hold its shared memory for a moment, until they notice.
                let leftover = server.last_lines(5).contains("shared memory block");
                if !leftover || Instant::now() > limit {
                    return Err(server.failure());
                }
                self.launch()?;
            } else if Instant::now() > limit {
                return Err(error.context(server.failure()));
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        Ok(())
    }

    /// Stops the server cleanly, even if clients are connected.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // A fast shutdown: ends all sessions and writes a checkpoint.
            server.stop(Signal::INT, STOP);
        }
    }

    /// Ends the server like `kill -9`. Data that is not written to disk is lost.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// Returns the database `name` of this cluster. It does not have to exist.
    pub fn database(&self, name: &str) -> Database {
        Database::new(
            name,
            self.settings.port,
            &self.certificates,
            Arc::clone(&self.secrets),
        )
    }

    /// Returns the path of the server's log.
    pub fn log(&self) -> PathBuf {
        self.directory.join("postgres.log")
    }

    /// Returns the process id of the server, or `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Process::pid)
    }

    /// Returns an error with the server's last log lines if the server has ended by itself.
    pub fn failure(&mut self) -> Option<anyhow::Error> {
        let server = self.server.as_mut()?;
        server.ended().is_some().then(|| server.failure())
    }

    /// Returns the path of the data directory.
    pub fn data(&self) -> PathBuf {
        data(&self.directory)
    }

    /// Returns the directory of the server's socket. Only a cluster with the configuration files of production has one.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// Runs `initdb`, and moves the result to the data directory when it is complete.
    fn initialise(&self) -> Result<()> {
        // The directory gets its final name when it is complete, because this step may be interrupted.
        let draft = self.directory.join("postgres.draft");
        let _ = fs::remove_dir_all(&draft);
        fs::create_dir(&draft).with_context(|| format!("creating {}", draft.display()))?;
        self.set_access(&draft, 0o700)?;
        let password = self.directory.join("superuser-password");
        fs::write(&password, "")?;
        self.set_access(&password, 0o600)?;
        fs::write(&password, self.secrets.password(SUPERUSER))?;
        let mut initdb = command(
            self.installation.bin.join("initdb"),
            self.user.as_ref(),
            OnDeath::Kill,
        );
        initdb
            .arg(format!("--pgdata={}", draft.display()))
            .arg(format!("--pwfile={}", password.display()));
        initdb.args([
            &format!("--username={SUPERUSER}"),
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--data-checksums",
        ]);
        if !self.settings.durable {
            initdb.arg("--no-sync");
        }
        let output = initdb.current_dir("/").output();
        fs::remove_file(&password)?;
        let output = output.context("starting initdb")?;
        if !output.status.success() {
            bail!("initdb failed:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(fs::rename(draft, self.data())?)
    }

    /// Checks that the installed Postgres can run the cluster.
    fn check_version(&self) -> Result<()> {
        let created_by = fs::read_to_string(self.data().join("PG_VERSION"))?;
        let installed = self.installation.version.major;
        if created_by.trim() != installed.to_string() {
            bail!(
                "the cluster in {} was created by Postgres {}, but {installed} is installed. `cargo dev reset` creates a \
                 new one, and deletes all data",
                self.directory.display(),
                created_by.trim(),
            );
        }
        Ok(())
    }

    /// Writes the server's certificate, its key and `pg_hba.conf`. The server reads a key only from a file that it or
    /// root owns.
    fn write_files(&self) -> Result<()> {
        let (data, leaf) = (self.data(), self.certificates.leaf("postgres"));
        for (from, to) in [(&leaf.certificate, "server.crt"), (&leaf.key, "server.key")] {
            fs::copy(from, data.join(to))?;
            self.set_access(&data.join(to), 0o600)?;
        }
        match self.settings.files {
            ConfigFiles::Development => {
                let access = "hostssl all         all 127.0.0.1/32 scram-sha-256\n\
                              hostssl replication all 127.0.0.1/32 scram-sha-256\n";
                fs::write(data.join("pg_hba.conf"), access)?;
            }
            ConfigFiles::Production => {
                for file in ["postgresql.conf", "pg_hba.conf", "pg_ident.conf"] {
                    let content = fs::read(workspace::root().join("deploy/postgres").join(file))?;
                    fs::write(data.join(file), content)?;
                }
                let socket = self.socket();
                fs::create_dir_all(&socket)?;
                self.set_access(&socket, 0o700)?;
            }
        }
        Ok(())
    }

    /// Sets the mode of `path`, and makes the server's user its owner.
    fn set_access(&self, path: &Path, mode: u32) -> Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        if let Some(user) = &self.user {
            chown(path, Some(user.uid), Some(user.gid))?;
        }
        Ok(())
    }

    /// Starts the server, and does not wait until it accepts connections.
    fn launch(&mut self) -> Result<()> {
        let Settings {
            port,
            durable,
            connections,
            files,
        } = self.settings;
        if !port::free(port) {
            bail!("port {port}, on which Postgres should listen, is in use");
        }
        let on = |condition| if condition { "on" } else { "off" };
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            match files {
                ConfigFiles::Development => "unix_socket_directories=".to_owned(),
                ConfigFiles::Production => format!("unix_socket_directories={}", self.socket().display()),
            },
            // Recovery after a crash syncs the file system with one call, instead of thousands of files one by one.
            "recovery_init_sync_method=syncfs".to_owned(),
        ];
        if !durable {
            // It may be in memory, where each file of the write-ahead log takes room.
            settings.push("max_wal_size=256MB".to_owned());
        }
        if files == ConfigFiles::Development {
            settings.extend([
                format!("fsync={}", on(durable)),
                format!("full_page_writes={}", on(durable)),
                format!("max_connections={connections}"),
                "ssl=on".to_owned(),
                "password_encryption=scram-sha-256".to_owned(),
                // Independent of the time zone of the machine.
                "timezone=UTC".to_owned(),
                // The details of a constraint violation would quote the row, for example an email address.
                "log_error_verbosity=terse".to_owned(),
                "log_line_prefix=%m [%p] %q%u@%d ".to_owned(),
            ]);
            if self.installation.has_statement_statistics() {
                settings.push("shared_preload_libraries=pg_stat_statements".to_owned());
            }
        }
        let mut postgres = command(
            self.installation.bin.join("postgres"),
            self.user.as_ref(),
            OnDeath::Interrupt,
        );
        postgres
            .arg("-D")
            .arg(self.data())
            .current_dir("/")
            .env("LC_ALL", "C")
            .envs(self.installation.environment.iter().cloned());
        for setting in settings {
            postgres.args(["-c", &setting]);
        }
        self.server = Some(Process::start("Postgres", postgres, &self.log())?);
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Ends a leftover server, and deletes the cluster and everything else in the directory of `state`.
pub fn discard(state: &State) -> Result<()> {
    end_orphan(state.path())?;
    state.clear()
}

/// Returns the data directory of the cluster in `directory`.
fn data(directory: &Path) -> PathBuf {
    directory.join("postgres")
}

/// Ends a server that an earlier process left behind in `directory`, and removes its `postmaster.pid`.
///
/// A server can outlive its killed parent for a moment. The caller must hold the [`State`] with the directory.
pub fn end_orphan(directory: &Path) -> Result<()> {
    let data = data(directory);
    let file = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&file) else {
        return Ok(());
    };
    let pid: i32 = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok())
        .unwrap_or(0);
    // The id may belong to another process by now. The working directory of a server is its data directory.
    let data = data.canonicalize()?;
    let runs = || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory == data);
    let limit = Instant::now() + STOP;
    while runs() {
        let signal = if Instant::now() < limit {
            Signal::INT
        } else {
            Signal::KILL
        };
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = kill_process(pid, signal);
        }
        thread::sleep(Duration::from_millis(20));
    }
    match fs::remove_file(&file) {
        Err(error) if file.exists() => Err(error).context("removing a stale postmaster.pid"),
        _ => Ok(()),
    }
}
