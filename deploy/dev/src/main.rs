//! `cargo dev`: the whole of Haven on one machine.

mod example_calls;
mod listeners;
mod seed;
mod shell;
mod sqlx_offline;
mod tail;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use self::{seed::Seed, shell::Shell, sqlx_offline::SqlxOffline, up::Up};

/// The whole of Haven on this machine: a private Postgres, and both services over TLS.
///
/// Without a command it is `up`: it builds, starts everything, says how to call it, and shows the logs until Ctrl-C. What
/// is stored stays until `reset`. Nothing that runs on this machine otherwise is touched.
#[derive(Parser)]
#[command(
    name = "cargo dev",
    bin_name = "cargo dev",
    args_conflicts_with_subcommands = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: Up,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything, and stop it with Ctrl-C (this is what happens without a command)
    Up(Up),
    /// Delete everything that was stored, keys and certificates too, and then do as `up` does
    Reset(Up),
    /// Fill what is running with invented people and their messages
    Seed(Seed),
    /// Open a shell on the database of what is running
    Psql(Shell),
    /// Write the data that SQL is checked against when there is no database at hand
    ///
    /// To be run after a change to a query or a migration. Needs nothing running.
    Sql(SqlxOffline),
}

/// The directory of everything that is kept between runs.
const STATE: &str = "dev";

/// The one database.
const DATABASE: &str = "haven";

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let result = match cli.command.unwrap_or(Command::Up(cli.up)) {
        Command::Up(up) => runtime.block_on(up.run(false)),
        Command::Reset(up) => runtime.block_on(up.run(true)),
        Command::Seed(seed) => runtime.block_on(seed.run()),
        Command::Psql(shell) => shell.run(),
        Command::Sql(queries) => runtime.block_on(queries.run()),
    };
    // A build that is still going on is not waited for: it ends with this process.
    runtime.shutdown_background();
    result
}

/// Says what is being done.
fn say(line: impl AsRef<str>) {
    println!("  {}", line.as_ref());
}
