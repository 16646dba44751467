//! A real PgBouncer in front of a test cluster, in transaction mode and otherwise with its default configuration.

use std::{
    fs,
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use rustix::process::Signal;

use crate::{
    certificates::Certificates, database::Database, package::Package, port::Port, process::Process,
    user::User,
};

/// The name of the package.
pub const PACKAGE: &str = "pgbouncer";

/// The time that PgBouncer gets to start or to stop.
const LIMIT: Duration = Duration::from_secs(30);

/// The logins that PgBouncer lets in.
const LOGINS: [&str; 6] = [
    "identity_app",
    "identity_worker",
    "identity_owner",
    "data_app",
    "data_worker",
    "data_owner",
];

/// A PgBouncer process. Dropping it kills the process.
pub struct PgBouncer {
    package: Package,
    directory: PathBuf,
    port: Port,
    process: Option<Process>,
}

impl PgBouncer {
    /// Starts PgBouncer in front of the cluster of `database`, for all of its databases. It opens at most `pool_size`
    /// connections to Postgres for each login and database.
    ///
    /// Only what has no usable default is set: addresses, `pool_mode`, TLS on both sides, and SCRAM.
    ///
    /// # Errors
    ///
    /// If PgBouncer does not accept connections in time.
    pub fn start(
        package: &Package,
        directory: &Path,
        database: &Database,
        certificates: &Certificates,
        pool_size: u32,
    ) -> Result<Self> {
        let pooler = Self {
            package: package.clone(),
            directory: directory.join("pgbouncer"),
            port: Port::reserve()?,
            process: None,
        };
        fs::create_dir_all(&pooler.directory)?;
        let file = |name: &str| pooler.directory.join(name).display().to_string();
        let leaf = certificates.leaf("postgres");
        pooler.write("server.crt", &fs::read_to_string(leaf.certificate)?)?;
        pooler.write("server.key", &fs::read_to_string(leaf.key)?)?;
        pooler.write("ca.crt", &fs::read_to_string(certificates.authority())?)?;
        let logins: String = LOGINS
            .iter()
            .map(|login| format!("\"{login}\" \"{}\"\n", database.secrets.password(login)))
            .collect();
        pooler.write("userlist.txt", &logins)?;
        let configuration = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {}\n\
             unix_socket_dir =\n\
             auth_type = scram-sha-256\n\
             auth_file = {}\n\
             pool_mode = transaction\n\
             default_pool_size = {pool_size}\n\
             client_tls_sslmode = require\n\
             client_tls_cert_file = {}\n\
             client_tls_key_file = {}\n\
             server_tls_sslmode = verify-full\n\
             server_tls_ca_file = {}\n",
            database.port,
            pooler.port(),
            file("userlist.txt"),
            file("server.crt"),
            file("server.key"),
            file("ca.crt"),
        );
        pooler.write("pgbouncer.ini", &configuration)?;
        let mut pooler = pooler;
        pooler.resume()?;
        Ok(pooler)
    }

    /// Returns the port that PgBouncer listens on.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Returns `database`, reached through PgBouncer.
    pub fn database(&self, database: &Database) -> Database {
        Database {
            port: self.port(),
            ..database.clone()
        }
    }

    /// Starts PgBouncer after [`stop`](Self::stop), and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// If it does not accept connections in time.
    pub fn resume(&mut self) -> Result<()> {
        let mut command = self.package.command("usr/sbin/pgbouncer")?;
        command.arg(self.directory.join("pgbouncer.ini"));
        let mut process = Process::start("PgBouncer", command, &self.log())?;
        let limit = Instant::now() + LIMIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).is_err() {
            if process.ended().is_some() || Instant::now() > limit {
                bail!(process.failure());
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.process = Some(process);
        Ok(())
    }

    /// Ends PgBouncer at once, with all connections and the transactions on them.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(Signal::TERM, LIMIT);
        }
    }

    /// Ends PgBouncer with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Returns the path of the log.
    pub fn log(&self) -> PathBuf {
        self.directory.join("pgbouncer.log")
    }

    /// Writes a file that only the user of PgBouncer can read.
    fn write(&self, name: &str, content: &str) -> Result<()> {
        let path = self.directory.join(name);
        fs::write(&path, "")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        fs::write(&path, content)?;
        if let Some(user) = User::instead_of_root()? {
            chown(&path, Some(user.uid), Some(user.gid))?;
        }
        Ok(())
    }
}
