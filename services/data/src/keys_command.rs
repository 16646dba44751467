//! The `data keys` subcommand: counts sealed rows by key, and rotates the sealing key.

mod report;

use std::{
    io::{self, Write},
    sync::Arc,
};

use clap::{Args, Subcommand};
use haven_platform::{
    application::{Application, CommandError},
    config::{ConfigProblems, Environment, PostgresArgs},
    database::{Database, DatabaseConfig},
    time::Clock,
};
use tokio::time::Instant;

use self::report::{Progress, list, print_status};
use crate::{
    Data,
    config::MessageKeysArgs,
    domain::key_ring::KeyRing,
    seal_rotation::{Outcome, Rotation},
    store::seal::Seals,
};

/// The arguments of `data keys`.
#[derive(Args, Debug)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Count the sealed rows by key
    #[command(after_help = AFTER_STATUS)]
    Status(AccessArgs),
    /// Reseal under the first key every row that is sealed under another
    #[command(after_help = AFTER_ROTATE)]
    Rotate(AccessArgs),
}

/// The configuration of the database and the keys: the same variables as for `serve`.
#[derive(Args, Debug)]
struct AccessArgs {
    /// The kind of installation: `development` only reports problems that `production` refuses
    #[arg(
        long,
        env = "ENVIRONMENT",
        value_name = "production|development",
        default_value = "production"
    )]
    environment: String,
    #[command(flatten)]
    postgres: PostgresArgs,
    #[command(flatten)]
    keys: MessageKeysArgs,
}

/// The checked configuration of a command.
struct Access {
    environment: Environment,
    postgres: DatabaseConfig,
    keys: KeyRing,
}

/// The end of the help of `data keys status`.
const AFTER_STATUS: &str = "\
Reads only the ids of keys, changes nothing, and may run beside the service. Each line has a field, a key, the number of rows \
with the field sealed under the key, and the key's role in MESSAGE_KEYS: it `seals`, it `opens`, or it is `missing`. An old key \
can be removed from MESSAGE_KEYS when it has 0 rows in each field, and no service seals under it any more.

Exit codes: 0 every needed key is configured, 1 a key is missing or the database cannot be read, 64 the configuration is \
invalid.";

/// The end of the help of `data keys rotate`.
const AFTER_ROTATE: &str = "\
To change the key: add the new key last in MESSAGE_KEYS of every service, and restart them; then put it first, and restart them; \
then run this command; then remove the old key.

Works beside the running service, a hundred rows at a time, with each person's own database context. Concurrent changes of rows \
are kept. The command can be stopped at any time (Ctrl-C, kill), and continues with the remaining rows when it is started again. \
A row that cannot be opened is named, never shown, and stays unchanged.

Exit codes: 0 every row is sealed under the first key, 1 some rows are not, or the database cannot be used, 64 the \
configuration is invalid.";

/// Runs the subcommand.
///
/// # Errors
///
/// When the configuration is invalid, the database cannot be used, a key is missing, or rows remain under an old key.
pub(crate) async fn run(args: KeysArgs) -> Result<(), CommandError> {
    match args.command {
        KeysCommand::Status(args) => {
            let (seals, keys) = args.connect().await?;
            status(&seals, &keys, &mut io::stdout()).await
        }
        KeysCommand::Rotate(args) => {
            let (seals, keys) = args.connect().await?;
            rotate(seals, keys, &mut io::stdout()).await
        }
    }
}

impl AccessArgs {
    fn check(&self, problems: &mut ConfigProblems) -> Option<Access> {
        let environment = problems.one_of("ENVIRONMENT", &self.environment);
        let postgres = self.postgres.check(problems, Data::NAME);
        let keys = self.keys.check(problems);
        Some(Access {
            environment: environment?,
            postgres: postgres?,
            keys: keys?,
        })
    }

    /// Connects to the database, inspects it as the service does at start, and returns the seals and the keys.
    async fn connect(&self) -> Result<(Seals, KeyRing), CommandError> {
        let mut problems = ConfigProblems::new();
        let access = self.check(&mut problems);
        let access = problems.finish(access)?;
        let database = Database::new(&access.postgres).map_err(CommandError::failed)?;
        database
            .inspect(Data::migrations().newest(), access.environment)
            .await
            .map_err(CommandError::failed)?;
        Ok((Seals::new(Arc::new(database)), access.keys))
    }
}

/// Prints the counts of sealed rows by field and key.
async fn status(seals: &Seals, keys: &KeyRing, output: &mut impl Write) -> Result<(), CommandError> {
    let counts = seals.count().await.map_err(CommandError::failed)?;
    print_status(&counts, keys, output).map_err(CommandError::failed)?;
    keys.has_all(counts.iter().map(|count| count.key_id.as_str()))
        .map_err(CommandError::failed)
}

/// Reseals every row under the first key, and prints the progress.
async fn rotate(seals: Seals, keys: KeyRing, output: &mut impl Write) -> Result<(), CommandError> {
    let keys = Arc::new(keys);
    let mut progress = Progress::new(keys.sealing_id(), output);
    let outcome = Rotation::new(seals, Arc::clone(&keys), Clock::system())
        .run(&mut |event| progress.report(event, Instant::now()))
        .await
        .map_err(CommandError::failed)?;
    progress.write().map_err(CommandError::failed)?;
    let sealing = keys.sealing_id();
    match outcome {
        Outcome::Done => {
            let others = list(keys.ids().filter(|id| *id != sealing));
            match others.is_empty() {
                true => writeln!(output, "every row is sealed under `{sealing}`, the only key"),
                false => writeln!(
                    output,
                    "every row is sealed under `{sealing}`: {others} can be removed from MESSAGE_KEYS"
                ),
            }
            .map_err(CommandError::failed)
        }
        Outcome::Unreadable(rows) => Err(CommandError::failed(format!(
            "{rows} rows cannot be opened and stay under their keys, which must stay in MESSAGE_KEYS"
        ))),
        Outcome::KeepAppearing(keys_in_use) => Err(CommandError::failed(format!(
            "new rows keep appearing under {}: put `{sealing}` first in the MESSAGE_KEYS of every service, restart them, and \
             run this command again",
            list(keys_in_use.iter().map(String::as_str))
        ))),
    }
}
