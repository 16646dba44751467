//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;

use crate::application::ServeArgs;

/// The command line of a service: what all of them can do, and what one alone can.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = AFTER_HELP)]
pub(crate) struct Cli<A: Args, C: Subcommand> {
    #[command(subcommand)]
    pub(crate) command: Command<A, C>,
}

const AFTER_HELP: &str = "\
Every flag is an environment variable too. A secret can also come from a file, named by <NAME>_FILE.
Exit codes: 0 done, or stopped when asked to, 64 the configuration is wrong, 1 everything else.";

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command<A: Args, C: Subcommand> {
    /// Serve until SIGTERM or SIGINT, then let calls finish
    Serve(Box<ServeArgs<A>>),
    /// Bring the schema to the version that this program needs, as its owner
    Migrate(MigrateArgs),
    /// Check the configuration, report all that is missing or wrong, and do nothing else
    CheckConfig(Box<ServeArgs<A>>),
    #[command(flatten)]
    Own(C),
}

/// The flags of `migrate`.
#[derive(Args)]
pub(crate) struct MigrateArgs {
    /// The login of the schema's owner: postgres://SCHEMA_owner:…@host/db
    #[arg(
        long,
        env = "MIGRATION_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) migration_database_url: Option<SecretString>,
    /// A file that holds MIGRATION_DATABASE_URL
    #[arg(long, env = "MIGRATION_DATABASE_URL_FILE", value_name = "FILE")]
    pub(crate) migration_database_url_file: Option<PathBuf>,
    /// Take back every migration newer than this version, instead; what those tables hold is lost
    #[arg(long, value_name = "VERSION")]
    pub(crate) undo_to: Option<i64>,
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[derive(Args, Debug)]
    struct NoFlags {}

    #[derive(Subcommand, Debug)]
    enum Own {
        /// Keys
        #[command(subcommand)]
        Keys(Keys),
    }

    #[derive(Subcommand, Debug)]
    enum Keys {
        /// Rotate
        Rotate {
            #[arg(long)]
            to: String,
        },
    }

    fn parse<C: Subcommand>(line: &str) -> Result<Command<NoFlags, C>, clap::Error> {
        Cli::<NoFlags, C>::try_parse_from(line.split(' ')).map(|cli| cli.command)
    }

    #[test]
    fn a_services_own_commands_stand_beside_those_of_all() {
        let command = parse::<Own>("data keys rotate --to k2").unwrap();
        assert!(matches!(command, Command::Own(Own::Keys(Keys::Rotate { to })) if to == "k2"));
        assert!(matches!(
            parse::<Own>("data migrate").unwrap(),
            Command::Migrate(_)
        ));
        assert!(parse::<Own>("data keys").is_err());
        assert!(parse::<Infallible>("data keys rotate --to k2").is_err());
        assert!(matches!(
            parse::<Infallible>("data migrate").unwrap(),
            Command::Migrate(_)
        ));
    }
}
