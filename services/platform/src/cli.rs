//! The command line of a service.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;

use crate::{
    application::ServeArgs, check_database::CheckDatabaseArgs, health_command::HealthArgs,
    secret_keys_command::SecretKeysCommandArgs,
};

/// The command line of a service: the subcommands that every service has, and the service's own.
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = AFTER_HELP)]
pub(crate) struct Cli<A: Args, C: Subcommand> {
    #[command(subcommand)]
    pub(crate) command: Command<A, C>,
}

const AFTER_HELP: &str = "\
Every flag can also be set by an environment variable. A secret can also be read from a file, named by <NAME>_FILE.
Exit codes: 0 success, or stopped by a signal; 64 the configuration is wrong; 1 any other error.";

/// The subcommands of a service.
#[derive(Subcommand)]
pub(crate) enum Command<A: Args, C: Subcommand> {
    /// Serve until SIGTERM or SIGINT, then let calls in flight finish
    Serve(Box<ServeArgs<A>>),
    /// Migrate the schema to the version that this program needs, as the schema's owner
    Migrate(MigrateArgs),
    /// Check the configuration and report everything that is missing or wrong
    CheckConfig(Box<ServeArgs<A>>),
    /// Ask the running service whether it is ready or alive
    Health(HealthArgs),
    /// Audit the security of the database: the server, its roles, this service's schema
    CheckDatabase(Box<CheckDatabaseArgs>),
    /// Count what is stored under each key of SECRET_KEY
    SecretKeys(SecretKeysCommandArgs),
    #[command(flatten)]
    Own(C),
}

/// The flags of `migrate`.
#[derive(Args)]
pub(crate) struct MigrateArgs {
    /// The URL of the schema owner's login: postgres://SCHEMA_owner:…@host/db
    #[arg(
        long,
        env = "MIGRATION_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) migration_database_url: Option<SecretString>,
    /// A file that contains MIGRATION_DATABASE_URL
    #[arg(long, env = "MIGRATION_DATABASE_URL_FILE", value_name = "FILE")]
    pub(crate) migration_database_url_file: Option<PathBuf>,
    /// Instead of migrating, revert all migrations newer than this version; the data in their tables is lost
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
        /// Manages keys
        #[command(subcommand)]
        Keys(Keys),
    }

    #[derive(Subcommand, Debug)]
    enum Keys {
        /// Rotates a key
        Rotate {
            #[arg(long)]
            to: String,
        },
    }

    fn parse<C: Subcommand>(line: &str) -> Result<Command<NoFlags, C>, clap::Error> {
        Cli::<NoFlags, C>::try_parse_from(line.split(' ')).map(|cli| cli.command)
    }

    #[test]
    fn a_service_has_its_own_commands_beside_the_common_ones() {
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
