//! `cargo dev` as a whole: started, toured, seeded and stopped.

use std::{fs, path::PathBuf, process::Command, time::Duration};

use haven_testkit::{
    Stack,
    binaries::Binaries,
    port::Port,
    process::{OnDeath, Process, Signal, command},
    state::{ROOT_VARIABLE, State},
};

use super::announced::{Announced, Printed};
use crate::eventually::within;

/// The time that `cargo dev` gets to start, with a new cluster, on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(120);

/// A running `cargo dev` with state and ports of its own.
pub(super) struct Running {
    pub(super) process: Process,
    pub(super) state: State,
    log: PathBuf,
    /// The ports, in the order of [`FLAGS`].
    ports: Vec<Port>,
}

/// The flags with the ports.
const FLAGS: [&str; 8] = [
    "--identity-port",
    "--identity-health-port",
    "--identity-metrics-port",
    "--data-port",
    "--data-health-port",
    "--data-metrics-port",
    "--postgres-port",
    "--web-port",
];

impl Running {
    /// Starts `cargo dev up` with further `arguments`, and waits until it has printed `last`.
    pub(super) async fn start(arguments: &[&str], last: &str) -> Self {
        let state = State::take_any_in_memory("cargo-dev").unwrap();
        state.clear().unwrap();
        let ports: Vec<Port> = FLAGS.iter().map(|_| Port::reserve().unwrap()).collect();
        let mut dev = command(Binaries::build().unwrap().dev, None, OnDeath::Interrupt);
        dev.arg("up").args(arguments).env(ROOT_VARIABLE, state.path());
        for (flag, port) in FLAGS.iter().zip(&ports) {
            dev.args([(*flag).to_owned(), port.number().to_string()]);
        }
        let log = state.path().join("output.log");
        let process = Process::start("cargo dev", dev, &log).unwrap();
        let mut running = Self {
            process,
            state,
            log,
            ports,
        };
        within(START, "cargo dev has started everything", async || {
            assert!(
                running.process.ended().is_none(),
                "{:#}",
                running.process.failure()
            );
            running.output().contains(last)
        })
        .await;
        running
    }

    /// Returns the port that was given with `flag`.
    pub(super) fn port(&self, flag: &str) -> u16 {
        let position = FLAGS.iter().position(|known| *known == flag).unwrap();
        self.ports[position].number()
    }

    pub(super) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Runs a line of a shell, in which `cargo dev` is the program under test.
    fn shell(&self, line: &str) -> Printed {
        let mut bash = Command::new("bash");
        bash.args([
            "-c",
            &format!("cargo() {{ shift; \"$HAVEN_DEV\" \"$@\"; }}; {line}"),
        ]);
        bash.env("HAVEN_DEV", Binaries::build().unwrap().dev)
            .env(ROOT_VARIABLE, self.state.path())
            .env_remove("HAVEN_PASSWORD");
        Printed::of(bash.output().unwrap())
    }
}

#[tokio::test]
async fn cargo_dev_prints_calls_that_work_and_its_tour_passes() {
    let mut running = Running::start(&[], "Stop with Ctrl-C").await;
    let output = running.output();
    let examples: Vec<&str> = output
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("cargo dev call"))
        .collect();
    assert!(examples.len() >= 5, "{output}");
    for line in examples {
        let printed = running.shell(line);
        assert_eq!(printed.code, 0, "{line}\n{}", printed.error);
    }

    let tour = running.shell("cargo dev tour");
    assert_eq!(tour.code, 0, "{}{}", tour.output, tour.error);
    // Each line that it shows is one that a shell can run: here the first, which asks for the health.
    let first = tour
        .output
        .lines()
        .find_map(|line| line.trim().strip_prefix("$ "))
        .unwrap();
    assert_eq!(running.shell(first).value()["status"], "SERVING");

    let seeded = running.shell("cargo dev seed --people 1 --messages 2");
    assert_eq!(seeded.code, 0, "{}", seeded.error);
    let call = seeded.output.lines().last().unwrap();
    let messages = running.shell(call).value();
    assert_eq!(messages["messages"].as_array().unwrap().len(), 2);

    assert!(
        running.process.stop(Signal::INT, Duration::from_secs(60)),
        "it did not stop in time"
    );
    running.shell(first).failed(1, &["Haven is not running"]);
}

#[tokio::test]
async fn the_tour_fails_when_a_step_does_not_do_what_it_says() {
    let stack = Stack::builder().without("data").start().await.unwrap();
    let tour = Announced::new(&stack).run(&["tour"]);
    tour.failed(1, &["exit code 78 of: cargo dev call AppendMessage"]);
}
