//! Child processes that do not outlive this process.
//!
//! When this process ends, even by `kill -9`, the kernel sends each child the signal that was chosen for it
//! (`PR_SET_PDEATHSIG`). Linux binds this to the *thread* that started the child, so one thread that lives as long as
//! the process starts all children. Each child leads its own process group: Ctrl-C in a terminal reaches only this
//! process, which stops the children in order.

use std::{
    ffi::OsStr,
    fs::{self, OpenOptions},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{LazyLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

use crate::user::User;

/// The interval at which a stopping child is checked.
const POLL: Duration = Duration::from_millis(5);

/// A child process, running or ended. Dropping it kills the process.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// The signal that a child receives when this process ends.
#[derive(Clone, Copy, Debug)]
pub enum OnDeath {
    /// SIGKILL, which also ends a paused process.
    Kill,
    /// SIGINT, which lets the process shut down cleanly.
    Interrupt,
    /// SIGTERM, for a script that traps it: a shell cannot trap the SIGINT that a background job ignores.
    Terminate,
}

// === impl Process ===

impl Process {
    /// Starts a command from [`command`], and appends its standard output and standard error to the file `log`.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log);
        let output = output.with_context(|| format!("opening {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0);
        let child = spawn(command).with_context(|| format!("starting {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the exit status of the process, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal. Has no effect if the process has ended.
    pub fn signal(&mut self, signal: Signal) {
        // The id of an ended process is not reused until `ended` reaps it, so no other process gets the signal.
        if self.ended().is_none() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Sends `signal`, waits up to `limit` for the process to end, and then kills it. Returns true if it ended by
    /// itself.
    pub fn stop(&mut self, signal: Signal, limit: Duration) -> bool {
        self.signal(signal);
        let limit = Instant::now() + limit;
        while self.ended().is_none() {
            if Instant::now() > limit {
                self.kill();
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }

    /// Ends the process with SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Returns an error with the exit status of the process and the last lines of its log.
    pub fn failure(&mut self) -> anyhow::Error {
        let status = self
            .ended()
            .map_or("does not answer".to_owned(), |status| format!("ended: {status}"));
        anyhow!("{} {status}\n{}", self.name, self.last_lines(20))
    }

    /// Returns the last `count` lines of the log, indented, and the path of the log.
    pub fn last_lines(&self, count: usize) -> String {
        let text = fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(count)..];
        format!("  {}\n  (from {})", last.join("\n  "), self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns a command that runs `program` as `user`, or as the current user if `None`. It receives the signal `on_death`
/// when this process ends.
pub fn command(program: impl AsRef<OsStr>, user: Option<&User>, on_death: OnDeath) -> Command {
    let mut command = Command::new("setpriv");
    let signal = match on_death {
        OnDeath::Kill => "KILL",
        OnDeath::Interrupt => "INT",
        OnDeath::Terminate => "TERM",
    };
    command.args(["--pdeathsig", signal]);
    if let Some(user) = user {
        command.args([
            format!("--reuid={}", user.uid),
            format!("--regid={}", user.gid),
            "--init-groups".to_owned(),
        ]);
        // That of this process may be closed to the user, and libpq fails where it may not look for certificates.
        command.env("HOME", "/");
    }
    command.arg(program);
    command
}

/// Returns true if a process with this id is running. A zombie process is not.
pub fn runs(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
}

/// Returns the command line of a process, or `None` if it does not exist.
pub fn command_line(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = line
        .split(|&byte| byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    Some(words.join(" ").trim().to_owned())
}

/// Starts `command` from the thread that starts all children.
fn spawn(command: Command) -> io::Result<Child> {
    type Request = (Command, mpsc::Sender<io::Result<Child>>);
    static PARENT: LazyLock<mpsc::Sender<Request>> = LazyLock::new(|| {
        let (requests, inbox) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        requests
    });
    let (answer, child) = mpsc::channel();
    PARENT.send((command, answer)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}
