//! A client as a process. It prints a line for each case: its name, a tab, and `yes`, or `no: ` and why.

use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use haven_testkit::workspace;

use crate::{fixture::Environment, report::Row};

/// The time in which a client runs all cases.
const LIMIT: Duration = Duration::from_secs(180);

/// A client of the list.
pub(crate) struct Program {
    /// The name, such as `grpcio`.
    pub(crate) name: String,
    /// Whether the library retries by the service config: it is then tried during restarts.
    pub(crate) reads_service_config: bool,
    command: String,
}

/// A client that runs, and the lines that it prints.
pub(crate) struct Running {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Program {
    /// Reads a line of the list.
    pub(crate) fn parse(line: &str) -> Result<Self> {
        let parts: Vec<&str> = line.splitn(3, '\t').collect();
        let [name, reads_service_config, command] = parts[..] else {
            bail!("a line has three parts: {line}");
        };
        Ok(Self {
            name: name.to_owned(),
            reads_service_config: reads_service_config == "yes",
            command: command.to_owned(),
        })
    }

    /// Starts the client for `what`: `cases` or `restarts`.
    pub(crate) fn start(&self, what: &str, environment: &Environment) -> Result<Running> {
        let mut child = Command::new("bash")
            .arg("-c")
            .arg(format!("exec {} {what}", self.command))
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(workspace::root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", self.command))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("the output of the client")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Running { child, input, lines })
    }

    /// Runs all cases, and returns their outcomes.
    pub(crate) fn cases(&self, environment: &Environment) -> Result<Row> {
        let mut running = self.start("cases", environment)?;
        let mut row = Row::default();
        let began = Instant::now();
        while let Some(line) = running.line(LIMIT.saturating_sub(began.elapsed()))? {
            let (case, outcome) = line
                .split_once('\t')
                .with_context(|| format!("{} printed a line that is no outcome: {line}", self.name))?;
            match case {
                "version" => row.version = outcome.to_owned(),
                _ => drop(row.outcomes.insert(case.to_owned(), outcome.to_owned())),
            }
        }
        ensure!(running.child.wait()?.success(), "{} failed", self.name);
        Ok(row)
    }
}

impl Running {
    /// Returns the next line, or `None` at the end of the output.
    pub(crate) fn line(&mut self, limit: Duration) -> Result<Option<String>> {
        use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
        match self.lines.recv_timeout(limit) {
            Ok(line) => Ok(Some(line)),
            Err(Disconnected) => Ok(None),
            Err(Timeout) => bail!("the client printed nothing within {limit:?}"),
        }
    }

    /// Tells the client to end.
    pub(crate) fn end(&mut self) {
        drop(self.input.take());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
