//! Child processes that never outlive this one.
//!
//! However this process ends, `kill -9` included, the kernel then sends each child the signal that was chosen for
//! it. Linux ties that promise to the *thread* that started the child, so every child is started by one thread that
//! lives as long as the process. Children lead process groups of their own: Ctrl-C in a terminal reaches only this
//! process, which stops them in order.

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

/// How often a child is asked whether it still runs.
const POLL: Duration = Duration::from_millis(5);

/// A running, or ended, child process. Dropping it kills it.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// What a child gets when this process ends.
#[derive(Clone, Copy, Debug)]
pub enum OnDeath {
    /// SIGKILL: a paused process cannot miss it.
    Kill,
    /// SIGINT: time to put things in order.
    Interrupt,
}

// === impl Process ===

impl Process {
    /// Starts what [`command`] made, with standard output and error appended to the file `log`.
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

    /// The process's number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal. Does nothing when the process has ended.
    pub fn signal(&mut self, signal: Signal) {
        // A process that has ended keeps its number until `ended` reaps it, so the signal cannot hit a stranger.
        if self.ended().is_none() {
            let _ = kill_process(Pid::from_child(&self.child), signal);
        }
    }

    /// Sends `signal`, waits for the process to end, and kills it when `patience` runs out. True when it ended by itself.
    pub fn stop(&mut self, signal: Signal, patience: Duration) -> bool {
        self.signal(signal);
        let limit = Instant::now() + patience;
        while self.ended().is_none() {
            if Instant::now() > limit {
                self.kill();
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }

    /// Ends the process at once, as `kill -9` does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// An error that says how the process ended, with the last lines that it wrote.
    pub fn failure(&mut self) -> anyhow::Error {
        let how = self
            .ended()
            .map_or("does not answer".to_owned(), |status| format!("ended: {status}"));
        anyhow!("{} {how}\n{}", self.name, self.last_lines(20))
    }

    /// The last lines that the process wrote, indented, and where the rest of them is.
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

/// A command that runs `program` as `user` (`None`: as oneself), and gets `on_death` when this process ends.
pub fn command(program: impl AsRef<OsStr>, user: Option<&User>, on_death: OnDeath) -> Command {
    let mut command = Command::new("setpriv");
    let signal = match on_death {
        OnDeath::Kill => "KILL",
        OnDeath::Interrupt => "INT",
    };
    command.args(["--pdeathsig", signal]);
    if let Some(user) = user {
        command.args([
            format!("--reuid={}", user.uid),
            format!("--regid={}", user.gid),
            "--init-groups".to_owned(),
        ]);
    }
    command.arg(program);
    command
}

/// Does a process with this number run? One that has ended and that nobody has asked about does not.
pub fn runs(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim_start().starts_with(['Z', 'X']))
}

/// The command line of a process, when it runs.
pub fn command_line(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = line
        .split(|&byte| byte == 0)
        .map(String::from_utf8_lossy)
        .collect();
    Some(words.join(" ").trim().to_owned())
}

fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, mpsc::Sender<io::Result<Child>>);
    static PARENT: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, child) = mpsc::channel();
    PARENT.send((command, answer)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}
