//! The CPU time of the services, of Postgres and of the clients, from `/proc`.

use std::{fs, ops::Sub};

use anyhow::{Context, Result};
use haven_testkit::{Stack, service::Service};

/// The unit of the times in `/proc/PID/stat`: `USER_HZ`, a constant of Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time in seconds, user and system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpu {
    /// The services that are measured.
    pub(crate) service: f64,
    /// All processes of the cluster, those that have ended included.
    pub(crate) postgres: f64,
    /// This process, and pgbench.
    pub(crate) clients: f64,
}

/// Reads the CPU time since the start of the processes.
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    services: Vec<u32>,
    postmaster: u32,
}

/// The relevant fields of `/proc/PID/stat`.
struct Stat {
    parent: u32,
    own: f64,
    ended_children: f64,
}

// === impl Meter ===

impl Meter {
    /// Measures `services`, and Postgres of `stack`, which must have its own cluster.
    pub(crate) fn new(stack: &Stack, services: &[&Service]) -> Result<Self> {
        let pids = services.iter().map(|service| {
            let pid = service.pid();
            pid.with_context(|| format!("{} does not run", service.name))
        });
        Ok(Self {
            services: pids.collect::<Result<_>>()?,
            postmaster: postmaster(stack)?,
        })
    }

    /// Returns the process ids of the services.
    pub(crate) fn services(&self) -> &[u32] {
        &self.services
    }

    /// Reads the times.
    pub(crate) fn read(&self) -> Result<Cpu> {
        let mut service = 0.0;
        for pid in &self.services {
            service += stat(*pid).context("a service has ended")?.own;
        }
        let postgres = loop {
            if let Some(seconds) = self.read_postgres()? {
                break seconds;
            }
        };
        let this = stat(std::process::id()).context("reading /proc/self/stat")?;
        Ok(Cpu {
            service,
            postgres,
            clients: this.own + this.ended_children,
        })
    }

    /// Reads the time of all processes of Postgres. Returns `None` if one of them has ended meanwhile: it may be counted
    /// twice, as a process that runs and as one that has ended.
    fn read_postgres(&self) -> Result<Option<f64>> {
        let postmaster = || stat(self.postmaster).context("Postgres has ended");
        let before = postmaster()?;
        let mut running = 0.0;
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let pid = name.to_str().and_then(|name| name.parse().ok());
            let process = pid.and_then(stat);
            if let Some(process) = process.filter(|process| process.parent == self.postmaster) {
                running += process.own;
            }
        }
        let after = postmaster()?;
        let unchanged = before.ended_children == after.ended_children;
        Ok(unchanged.then_some(running + after.own + after.ended_children))
    }
}

// === impl Cpu ===

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            service: self.service - earlier.service,
            postgres: self.postgres - earlier.postgres,
            clients: self.clients - earlier.clients,
        }
    }
}

/// Returns the process id of the first process of the stack's own cluster.
fn postmaster(stack: &Stack) -> Result<u32> {
    let own = stack
        .own_cluster()
        .context("the stack has no cluster of its own")?;
    let file = own.cluster.data().join("postmaster.pid");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    pid.context("postmaster.pid has no process id")
}

/// Reads `/proc/PID/stat`. Returns `None` if the process has ended.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program is in parentheses, and may contain anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let seconds = |index: usize| Some(fields.get(index)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: seconds(11)? + seconds(12)?,
        ended_children: seconds(13)? + seconds(14)?,
    })
}
