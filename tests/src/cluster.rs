//! A private Postgres cluster: never the system's, never run as root, reached over TLS on loopback alone, and gone
//! when the process that started it is gone.

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
};

/// How long Postgres may take to start: much, because after a crash it first recovers.
const START: Duration = Duration::from_secs(60);
/// How long it may take to stop.
const STOP: Duration = Duration::from_secs(15);

/// What differs from cluster to cluster.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The port to listen on.
    pub port: u16,
    /// Does an acknowledged commit survive a power cut? Nobody needs that of a test. It survives `kill -9` either way.
    pub durable: bool,
    /// How many may be connected at once.
    pub connections: u32,
}

/// A running cluster. Dropping it stops it cleanly.
///
/// Whoever starts one holds the [`State`] it lies in, so that no two processes start the same.
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
    /// Starts the cluster that lies in `directory`; makes it first when there is none.
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
        cluster.place_files()?;
        cluster.resume().await?;
        Ok(cluster)
    }

    /// Starts the server again, after [`kill`](Self::kill) or [`stop`](Self::stop).
    pub async fn resume(&mut self) -> Result<()> {
        end_orphan(&self.directory)?;
        let limit = Instant::now() + START;
        self.launch()?;
        let database = self.database(SUPERUSER);
        while let Err(problem) = database.connect(SUPERUSER).await {
            let Some(server) = &mut self.server else {
                bail!("Postgres was not started")
            };
            if server.ended().is_some() {
                // The processes of a server that was killed notice it within moments, and hold its memory until then.
                let leftover = server.last_lines(5).contains("shared memory block");
                if !leftover || Instant::now() > limit {
                    return Err(server.failure());
                }
                self.launch()?;
            } else if Instant::now() > limit {
                return Err(problem.context(server.failure()));
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        Ok(())
    }

    /// Stops the server cleanly, whoever is connected.
    pub fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // A fast shutdown: it ends all sessions, and writes a checkpoint.
            server.stop(Signal::INT, STOP);
        }
    }

    /// Ends the server as `kill -9` does: what it did not write to disk by then is lost.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// The database called `name` in this cluster, whether it is there or not.
    pub fn database(&self, name: &str) -> Database {
        Database::new(
            name,
            self.settings.port,
            &self.certificates,
            Arc::clone(&self.secrets),
        )
    }

    /// The file that the server writes its log to.
    pub fn log(&self) -> PathBuf {
        self.directory.join("postgres.log")
    }

    /// The number of the server's first process; `None` while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Process::pid)
    }

    /// How the server ended, when it did so by itself.
    pub fn failure(&mut self) -> Option<anyhow::Error> {
        let server = self.server.as_mut()?;
        server.ended().is_some().then(|| server.failure())
    }

    fn data(&self) -> PathBuf {
        data(&self.directory)
    }

    fn initialise(&self) -> Result<()> {
        // Under its final name only when it is complete: this may be interrupted, and have been interrupted before.
        let draft = self.directory.join("postgres.draft");
        let _ = fs::remove_dir_all(&draft);
        fs::create_dir(&draft).with_context(|| format!("creating {}", draft.display()))?;
        self.give(&draft, 0o700)?;
        let password = self.directory.join("superuser-password");
        fs::write(&password, "")?;
        self.give(&password, 0o600)?;
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

    fn check_version(&self) -> Result<()> {
        let made_by = fs::read_to_string(self.data().join("PG_VERSION"))?;
        let installed = self.installation.version.major;
        if made_by.trim() != installed.to_string() {
            bail!(
                "the cluster in {} was made by Postgres {}, and {installed} is installed. `cargo dev reset` makes a new \
                 one, and loses what is in it",
                self.directory.display(),
                made_by.trim(),
            );
        }
        Ok(())
    }

    /// The server reads its key only from a file that it or root owns.
    fn place_files(&self) -> Result<()> {
        let (data, leaf) = (self.data(), self.certificates.leaf("postgres"));
        for (from, to) in [(&leaf.certificate, "server.crt"), (&leaf.key, "server.key")] {
            fs::copy(from, data.join(to))?;
            self.give(&data.join(to), 0o600)?;
        }
        let access = "hostssl all         all 127.0.0.1/32 scram-sha-256\n\
                      hostssl replication all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), access)?;
        Ok(())
    }

    fn give(&self, path: &Path, mode: u32) -> Result<()> {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        if let Some(user) = &self.user {
            chown(path, Some(user.uid), Some(user.gid))?;
        }
        Ok(())
    }

    fn launch(&mut self) -> Result<()> {
        let Settings {
            port,
            durable,
            connections,
        } = self.settings;
        if !port::free(port) {
            bail!("port {port} is taken, and Postgres is to listen there");
        }
        let on = |condition| if condition { "on" } else { "off" };
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            "unix_socket_directories=".to_owned(),
            format!("max_connections={connections}"),
            "ssl=on".to_owned(),
            "password_encryption=scram-sha-256".to_owned(),
            // Times are written the same everywhere, wherever the machine is.
            "timezone=UTC".to_owned(),
            format!("fsync={}", on(durable)),
            format!("full_page_writes={}", on(durable)),
            // After a crash: one call for the whole file system, instead of one for each of thousands of files.
            "recovery_init_sync_method=syncfs".to_owned(),
            // The details of a violated constraint quote the row: an email address, for one.
            "log_error_verbosity=terse".to_owned(),
            "log_line_prefix=%m [%p] %q%u@%d ".to_owned(),
        ];
        if self.installation.has_statement_statistics() {
            settings.push("shared_preload_libraries=pg_stat_statements".to_owned());
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
            .env("LC_ALL", "C");
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

/// Deletes the cluster in a directory, and everything beside it.
pub fn discard(state: &State) -> Result<()> {
    end_orphan(state.path())?;
    state.clear()
}

fn data(directory: &Path) -> PathBuf {
    directory.join("postgres")
}

/// Ends a server that an earlier process left behind in `directory`, and clears the file that says so.
///
/// One may be there for a moment after its parent was killed. Only for whoever holds the directory.
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
    // The number may be somebody else's by now: a server's working directory is its data directory.
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
        Err(problem) if file.exists() => Err(problem).context("removing a stale postmaster.pid"),
        _ => Ok(()),
    }
}
