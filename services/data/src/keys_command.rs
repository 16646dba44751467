//! `data keys`: what is sealed under which key, and changing the key that seals.

mod report;

use std::{
    io::{self, Write},
    sync::Arc,
};

use clap::{Args, Subcommand};
use haven_platform::{
    application::{Application, CommandError},
    config::{Environment, PostgresArgs, ConfigProblems},
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

/// What can be done with the keys.
#[derive(Args, Debug)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Count what is sealed under which key
    #[command(after_help = AFTER_STATUS)]
    Status(AccessArgs),
    /// Seal everything under the first key that is sealed under another
    #[command(after_help = AFTER_ROTATE)]
    Rotate(AccessArgs),
}

/// How to reach what is sealed: the variables of `serve`.
#[derive(Args, Debug)]
struct AccessArgs {
    /// What the installation is for: `development` only reports what `production` refuses
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

/// The same, checked.
struct Access {
    environment: Environment,
    postgres: DatabaseConfig,
    keys: KeyRing,
}

const AFTER_STATUS: &str = "\
Reads the ids of keys alone, while the service may go on running, and changes nothing. Each line has a field, a key, how many \
rows have the field sealed under the key, and what the key is to MESSAGE_KEYS: it `seals`, it `opens`, or it is `missing`. An \
old key can be removed from MESSAGE_KEYS when it has 0 rows in each field, and no service seals with it any more.

Exit codes: 0 every key that is needed is there, 1 one is missing, or the database cannot be read, 64 the configuration is \
wrong.";

const AFTER_ROTATE: &str = "\
To change the key: add the new one last in MESSAGE_KEYS, everywhere, and restart; then put it first, everywhere, and restart; \
then run this; then remove the old one.

Works while the service goes on, a hundred rows at a time, and each as the person whose it is. What is changed meanwhile stays as \
it was changed. It can be stopped at any time (Ctrl-C, kill), and goes on with what is left when it is started again. A row that \
does not open is named, never shown, and stays as it is.

Exit codes: 0 nothing is sealed under another key than the first, 1 something still is, or the database cannot be used, 64 the \
configuration is wrong.";

/// Does what `args` say.
///
/// # Errors
///
/// When the configuration is wrong, the database cannot be used, a key is missing, or something stays under an old key.
pub(crate) async fn run(args: KeysArgs) -> Result<(), CommandError> {
    match args.command {
        KeysCommand::Status(args) => {
            let (seals, keys) = args.open().await?;
            status(&seals, &keys, &mut io::stdout()).await
        }
        KeysCommand::Rotate(args) => {
            let (seals, keys) = args.open().await?;
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

    /// The seals in a database that was looked at as the service does, and the keys.
    async fn open(&self) -> Result<(Seals, KeyRing), CommandError> {
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

async fn status(seals: &Seals, keys: &KeyRing, output: &mut impl Write) -> Result<(), CommandError> {
    let counts = seals.count().await.map_err(CommandError::failed)?;
    print_status(&counts, keys, output).map_err(CommandError::failed)?;
    keys.has_all(counts.iter().map(|count| count.key_id.as_str()))
        .map_err(CommandError::failed)
}

async fn rotate(seals: Seals, keys: KeyRing, output: &mut impl Write) -> Result<(), CommandError> {
    let keys = Arc::new(keys);
    let mut progress = Progress::new(keys.sealing_id(), output);
    let outcome = Rotation::new(seals, Arc::clone(&keys), Clock::system())
        .run(&mut |event| progress.tell(event, Instant::now()))
        .await
        .map_err(CommandError::failed)?;
    progress.end().map_err(CommandError::failed)?;
    let sealing = keys.sealing_id();
    match outcome {
        Outcome::Done => {
            let others = list(keys.ids().filter(|id| *id != sealing));
            match others.is_empty() {
                true => writeln!(output, "everything is sealed under `{sealing}`, the only key"),
                false => writeln!(
                    output,
                    "everything is sealed under `{sealing}`: {others} has no rows left, and can be removed from MESSAGE_KEYS"
                ),
            }
            .map_err(CommandError::failed)
        }
        Outcome::DoNotOpen(rows) => Err(CommandError::failed(format!(
            "{rows} rows do not open, and stay under their keys, which have to stay in MESSAGE_KEYS"
        ))),
        Outcome::KeepAppearing(left) => Err(CommandError::failed(format!(
            "new rows keep appearing under {}: put `{sealing}` first in the MESSAGE_KEYS of every service, restart them, and \
             start this again",
            list(left.iter().map(String::as_str))
        ))),
    }
}
