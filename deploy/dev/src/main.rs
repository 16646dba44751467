//! `cargo dev`: runs all of Haven on one machine.

mod audit;
mod call;
mod compose;
mod example_calls;
mod listeners;
mod pages;
mod people;
mod queries;
mod secrets;
mod seed;
mod selection;
mod service_config;
mod shell;
mod sqlx_offline;
mod tail;
mod tour;
mod up;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use self::{
    audit::Audit, call::Call, compose::Compose, queries::Queries, secrets::SecretsFor, seed::Seed,
    selection::Selection, service_config::ServiceConfig, shell::Shell, sqlx_offline::SqlxOffline, tour::Tour,
    up::Up,
};

/// Runs all of Haven on this machine: a private Postgres, and both services over TLS.
///
/// Without a command it does `up`: it builds and starts everything, prints example calls, and shows the logs until
/// Ctrl-C. Stored data is kept until `reset`. Other programs and databases on this machine are not touched.
#[derive(Parser)]
#[command(
    name = "cargo dev",
    bin_name = "cargo dev",
    args_conflicts_with_subcommands = true,
    after_help = "Environment:\n  HAVEN_STATE_DIR  the directory for stored data [default: target/haven, or below /var/lib/haven as root];\n                   \
                  another directory is another installation"
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    up: Up,
}

/// Delete all stored data, and start again.
#[derive(Args)]
struct Reset {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    up: Up,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything, and stop it on Ctrl-C (the default command)
    Up(Up),
    /// Delete all stored data, including keys and certificates, and then do `up`
    Reset(Reset),
    /// Call an RPC of the running installation, and print its answer as JSON
    Call(Box<Call>),
    /// Create test users with messages in the running installation
    Seed(Seed),
    /// Show what Haven does, step by step, with the calls that do it
    Tour(Tour),
    /// Open psql on the database of the running installation
    Psql(Shell),
    /// Create the certificates and secrets that deploy/compose mounts; existing ones are kept
    Secrets(SecretsFor),
    /// Show the most expensive statements by the name of their RPC, and how their tables are read
    Queries(Queries),
    /// Audit the security of the database of the running installation
    Audit(Audit),
    /// Write the offline data that SQL is checked against at compile time
    ///
    /// Run it after a change to a query or a migration. It starts its own database.
    Sql(SqlxOffline),
    /// Write the gRPC service config, with which gRPC libraries retry calls, from the protos
    ServiceConfig(ServiceConfig),
}

/// The name of the directory with the state that is kept between runs.
const STATE: &str = "dev";

/// The name of the database.
const DATABASE: &str = "haven";

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem:#}");
            call::exit_code(&problem)
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let result = match cli.command.unwrap_or(Command::Up(cli.up)) {
        Command::Up(up) => runtime.block_on(up.run(false)),
        Command::Reset(Reset { selection, .. }) if selection.is_compose() => Compose::find()?.reset(),
        Command::Reset(reset) => runtime.block_on(reset.up.run(true)),
        Command::Call(call) => runtime.block_on(call.run()),
        Command::Seed(seed) => runtime.block_on(seed.run()),
        Command::Tour(tour) => tour.run(),
        Command::Audit(audit) => audit.run(),
        Command::Psql(shell) => shell.run(),
        Command::Secrets(secrets) => secrets.run(),
        Command::Queries(queries) => runtime.block_on(queries.run()),
        Command::ServiceConfig(service_config) => service_config.run(),
        Command::Sql(sqlx_offline) => runtime.block_on(sqlx_offline.run()),
    };
    // Does not wait for a running build: it ends with this process.
    runtime.shutdown_background();
    result
}

/// Prints a line about the progress.
fn say(line: impl AsRef<str>) {
    println!("  {}", line.as_ref());
}
