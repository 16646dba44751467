//! Three nodes of Postgres under Patroni, with etcd and HAProxy, as `deploy/failover` starts them, and the faults that drills
//! put into them.
//!
//! Everything that reaches a node over the network, and everything that the node reaches, goes through proxies: a node that is
//! [cut off](Failover::cut) has neither clients nor replication nor etcd, and no connection of it ends.

mod faults;
mod programs;
mod roles;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use sqlx::PgConnection;
use tokio::time::timeout;

pub use self::{faults::Fault, programs::Programs};
use crate::{
    binaries::Binaries,
    bootstrap::{Migrations, bootstrap},
    certificates::{Certificates, keep_signing_key},
    database::Database,
    package,
    port::Port,
    process::{OnDeath, Process, command},
    proxy::Proxy,
    secrets::{SUPERUSER, Secrets},
    state::State,
    user::User,
    workspace,
};

/// The number of nodes.
pub const NODES: usize = 3;

/// The time that all nodes get to become complete: a node may have to be copied.
const START: Duration = Duration::from_secs(150);

/// The time that a node gets to answer a question of the testkit.
const ANSWER: Duration = Duration::from_secs(2);

/// The name of Haven's database, which `pg_hba.conf` names.
const DATABASE: &str = "haven";

/// A running rig. Dropping it stops everything.
pub struct Failover {
    // Dropped first: `up` stops the nodes when it is terminated.
    up: Process,
    nodes: Vec<Node>,
    programs: Programs,
    directory: PathBuf,
    environment: Vec<(&'static str, String)>,
    port: Port,
    pub(crate) certificates: Certificates,
    /// The passwords of the logins, and the keys of the services.
    pub secrets: Arc<Secrets>,
    pub(crate) state: State,
    _ports: Vec<Port>,
}

/// One node: the port of its Postgres, and the proxies around it.
struct Node {
    port: u16,
    postgres: Proxy,
    /// HAProxy's way to Patroni.
    checks: Proxy,
    /// The other nodes' way to Patroni.
    peers: Proxy,
    /// The node's own way to etcd.
    etcd: Proxy,
}

impl Failover {
    /// Starts the rig in a directory of its own, and sets up Haven's database on it.
    ///
    /// # Errors
    ///
    /// If the nodes are not complete in time. The error has the last lines of their logs.
    pub async fn start(programs: Programs) -> Result<Self> {
        // Before the nodes run: it may take long.
        let binaries = Binaries::build()?;
        let state = State::take_any_in_memory("failover")?;
        state.clear()?;
        let secrets = Arc::new(Secrets::keep(state.path())?);
        let certificates = Certificates::keep(&state.path().join("certificates"))?;
        keep_signing_key(&state.path().join("signing-key.pem"))?;
        let ports: Vec<Port> = (0..3 + 2 * NODES)
            .map(|_| Port::reserve())
            .collect::<Result<_>>()?;
        let port = Port::reserve()?;
        let number = |index: usize| ports[index].number();
        let mut nodes = Vec::new();
        for node in 0..NODES {
            let postgres = number(3 + node);
            nodes.push(Node {
                port: postgres,
                postgres: Proxy::start(postgres).await?,
                checks: Proxy::start(number(3 + NODES + node)).await?,
                peers: Proxy::start(number(3 + NODES + node)).await?,
                etcd: Proxy::start(number(1)).await?,
            });
        }
        let list = |of: &dyn Fn(&Node) -> u16| {
            let ports: Vec<_> = nodes.iter().map(|node| of(node).to_string()).collect();
            ports.join(" ")
        };
        let rest: Vec<_> = (0..NODES)
            .map(|node| number(3 + NODES + node).to_string())
            .collect();
        let environment = vec![
            ("HAVEN_PACKAGES", programs.directories()),
            ("POSTGRES_BIN", programs.postgres.display().to_string()),
            ("HAPROXY_PORT", port.number().to_string()),
            ("HAPROXY_METRICS_PORT", number(0).to_string()),
            ("ETCD_PORT", number(1).to_string()),
            ("ETCD_PEER_PORT", number(2).to_string()),
            ("ETCD_PORTS_OF_NODES", list(&|node| node.etcd.port())),
            ("POSTGRES_PORTS", list(&|node| node.port)),
            ("POSTGRES_ADVERTISED_PORTS", list(&|node| node.postgres.port())),
            ("REST_PORTS", rest.join(" ")),
            ("REST_ADVERTISED_PORTS", list(&|node| node.peers.port())),
            ("HAPROXY_CHECK_PORTS", list(&|node| node.checks.port())),
            // It may be in memory, where each file of the write-ahead log takes room.
            ("RIG_WAL_KEEP_SIZE", "256MB".to_owned()),
            ("RIG_MAX_WAL_SIZE", "256MB".to_owned()),
        ];
        let directory = state.path().join("rig");
        give_certificate(&certificates, &directory.join("tls"))?;
        let mut up = script("up", &environment);
        up.arg(&directory).arg("--attached");
        let up = Process::start("deploy/failover/up", up, &state.path().join("up.log"))?;
        let mut rig = Self {
            up,
            nodes,
            programs,
            directory,
            environment,
            port,
            certificates,
            secrets,
            state,
            _ports: ports,
        };
        rig.await_up().await?;
        rig.set_password()?;
        bootstrap(
            &rig.database(SUPERUSER),
            DATABASE,
            Migrations::Programs(&binaries),
        )
        .await?;
        let limits = fs::read_to_string(workspace::root().join("deploy/postgres/roles.sql"))?;
        rig.haven().run(SUPERUSER, &limits).await?;
        Ok(rig)
    }

    /// Returns Haven's database, reached through HAProxy.
    pub fn haven(&self) -> Database {
        self.database(DATABASE)
    }

    /// Returns Haven's database on the node `node`, which counts from 0, reached directly.
    pub fn node(&self, node: usize) -> Database {
        Database {
            port: self.nodes[node].port,
            ..self.haven()
        }
    }

    /// Runs `patronictl`, and returns its output.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub async fn patronictl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.programs.patronictl()?;
        command
            .arg("-c")
            .arg(self.directory.join("node-1/patroni.yaml"))
            .args(arguments);
        run(command).await
    }

    /// Returns a connection to the node's Postgres as the superuser, around the proxies.
    ///
    /// # Errors
    ///
    /// If the node does not answer.
    pub async fn superuser(&self, node: usize) -> Result<PgConnection> {
        let connecting = timeout(ANSWER, async { self.node(node).connect(SUPERUSER).await });
        connecting.await.context("the node does not answer")?
    }

    /// Returns the last lines of the logs of all nodes.
    ///
    /// # Errors
    ///
    /// If a log cannot be read.
    pub fn log_ends(&self) -> Result<String> {
        let mut ends = String::new();
        for node in 1..=NODES {
            let path = self.directory.join(format!("node-{node}/log"));
            let log = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(15)..];
            ends += &format!("{}:\n  {}\n", path.display(), last.join("\n  "));
        }
        Ok(ends)
    }

    fn database(&self, name: &str) -> Database {
        Database::new(
            name,
            self.port.number(),
            &self.certificates,
            Arc::clone(&self.secrets),
        )
    }

    /// Waits until `up` says that the rig is complete.
    async fn await_up(&mut self) -> Result<()> {
        let limit = Instant::now() + START;
        let log = self.state.path().join("up.log");
        while !fs::read_to_string(&log)?.contains("up: postgres through") {
            if self.up.ended().is_some() || Instant::now() > limit {
                return Err(self.up.failure());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Gives the superuser a password, over the socket of the leader: tests connect over TCP.
    fn set_password(&self) -> Result<()> {
        let sql = format!(
            "SET pg_stat_statements.track_utility = off; ALTER ROLE {SUPERUSER} PASSWORD '{}'",
            self.secrets.password(SUPERUSER)
        );
        let user = User::instead_of_root()?;
        for (index, node) in self.nodes.iter().enumerate() {
            let mut psql = command(self.programs.postgres.join("psql"), user.as_ref(), OnDeath::Kill);
            psql.arg("-h")
                .arg(self.directory.join(format!("node-{}", index + 1)))
                .args(["-p", &node.port.to_string()])
                .args([
                    "-U",
                    SUPERUSER,
                    "-d",
                    SUPERUSER,
                    "-v",
                    "ON_ERROR_STOP=1",
                    "-qf",
                    "-",
                ])
                .current_dir("/")
                .stdin(Stdio::piped())
                .stderr(Stdio::null());
            let mut child = psql.spawn().context("starting psql")?;
            child
                .stdin
                .take()
                .context("psql has no input")?
                .write_all(sql.as_bytes())?;
            // A standby refuses.
            if child.wait()?.success() {
                return Ok(());
            }
        }
        bail!("no node accepts a password for the superuser");
    }
}

impl Drop for Failover {
    fn drop(&mut self) {
        for node in 0..NODES {
            self.restore(node);
        }
        self.up.stop(Signal::TERM, Duration::from_secs(90));
    }
}

/// Returns a script of `deploy/failover` with the rig's environment.
fn script(name: &str, environment: &[(&'static str, String)]) -> Command {
    let path = workspace::root().join("deploy/failover").join(name);
    let mut script = command(path, None, OnDeath::Terminate);
    script.envs(environment.iter().cloned());
    script
}

/// Runs a command to its end without blocking the runtime, in which the proxies live.
async fn run(mut command: Command) -> Result<String> {
    let outcome = tokio::task::spawn_blocking(move || package::run(&mut command)).await;
    outcome?
}

/// Puts the certificate of the cluster where `up` looks for one.
fn give_certificate(certificates: &Certificates, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    let leaf = certificates.leaf("postgres");
    for (from, to) in [
        (&leaf.certificate, "server.crt"),
        (&leaf.key, "server.key"),
        (&certificates.authority(), "ca.crt"),
    ] {
        fs::copy(from, directory.join(to))?;
    }
    Ok(())
}
