//! The arguments of a benchmark.

use std::{path::PathBuf, time::Duration};

use clap::{CommandFactory, FromArgMatches, Parser, builder::PossibleValuesParser};

/// The arguments, which all benchmarks have in common.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Options {
    /// The operations to measure; all of them without this argument
    #[arg(value_name = "OPERATION")]
    operations: Vec<String>,
    /// Measure in turns with another build: a folder with its programs `identity` and `data`
    #[arg(long, value_name = "DIR")]
    pub(crate) against: Option<PathBuf>,
    /// Only check that the benchmark works: few people, one short round
    #[arg(long)]
    pub(crate) quick: bool,
    /// The number of rounds
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// The duration of each turn of a round
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// The number of people with rows: in `cycle`, a multiple of 32
    #[arg(long, value_name = "N")]
    people: Option<u32>,
    /// The number of concurrent callers
    #[arg(long, value_name = "N")]
    callers: Option<usize>,
    /// In `conversations`: read pages among N further messages of other people
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) foreign_rows: u32,
    /// Give the data service LISTEN_DATABASE_URL
    #[arg(long)]
    pub(crate) listen: bool,
    /// Measure nothing, and print where the service's CPU time goes, by groups of symbols (needs `perf`)
    #[arg(long)]
    pub(crate) profile: bool,
    /// An argument of cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    /// Returns the arguments of this program, which measures `operations`. Ends the program if they are wrong, and with
    /// `--help`.
    pub(crate) fn parse(about: &'static str, operations: &'static [&'static str]) -> Self {
        let command = Self::command().about(about).mut_arg("operations", |argument| {
            argument
                .value_parser(PossibleValuesParser::new(operations))
                .ignore_case(true)
        });
        Self::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
    }

    /// Returns true if `operation` shall be measured.
    pub(crate) fn wants(&self, operation: &str) -> bool {
        let named = |name: &String| name.eq_ignore_ascii_case(operation);
        self.operations.is_empty() || self.operations.iter().any(named)
    }

    /// Returns the number of rounds.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(self.choose(1, 5)).max(1)
    }

    /// Returns the duration of a turn.
    pub(crate) fn turn(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(self.choose(1, 8)).max(1))
    }

    /// Returns the number of people: by default `quick` with `--quick`, and otherwise `full`.
    pub(crate) fn people(&self, quick: u32, full: u32) -> u32 {
        self.people.unwrap_or(self.choose(quick, full)).max(1)
    }

    /// Returns the number of callers.
    pub(crate) fn callers(&self, default: usize) -> usize {
        self.callers.unwrap_or(default).max(1)
    }

    /// Returns `quick` with `--quick`, and otherwise `full`.
    pub(crate) fn choose<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}
