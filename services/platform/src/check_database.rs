//! The subcommand `check-database`: a security audit of the database.

use std::{
    error::Error,
    fs,
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use secrecy::SecretString;

use crate::{
    application::{Application, CommandError},
    config::{ConfigProblems, WorkerArgs},
    database::{
        WorkerConfig,
        checks::{self, Finding, Outcome, backup},
        is_url,
    },
    time::Clock,
};

/// The text below the flags in `--help`.
const AFTER_HELP: &str = "\
Runs security checks on the server, the roles, the schema of this service and its connections, and changes nothing. Each \
line has the outcome, the name of the check and its rule; below a failure are the objects that violate the rule, the reason \
for the rule, and how to mend it.

What the worker's login may not look at is `not seen`, with what it needs: set ADMIN_DATABASE_URL to the URL of an admin. The \
more the admin may see, the more is checked; a superuser sees everything. With ENVIRONMENT=development, what only production \
needs is a `warning`.

Behind a pooler, the checks see the pooler's connections to Postgres, and not those of clients to the pooler.

With --json, standard output is one array of objects: `service`, `check`, `title`, `outcome` (`pass`, `fail`, `warning`, \
`not_seen`), `objects` (of `fail` and `warning`), `needs` (of `not_seen`), `meaning` and `remedy`.

Exit codes: 0 no check failed, 1 a check failed or the database cannot be reached, 64 the configuration is invalid.";

/// The flags of `check-database`.
#[derive(Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CheckDatabaseArgs {
    #[command(flatten)]
    worker: WorkerArgs,
    /// The URL of an admin's login on the same database, which sees more than the service [default: none]
    #[arg(long, env = "ADMIN_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    admin_database_url: Option<SecretString>,
    /// A file that contains ADMIN_DATABASE_URL
    #[arg(long, env = "ADMIN_DATABASE_URL_FILE", value_name = "FILE")]
    admin_database_url_file: Option<PathBuf>,
    /// A file with the output of `pgbackrest info --output=json`
    #[arg(long, value_name = "FILE")]
    pgbackrest_info: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A checked configuration.
struct Config {
    worker: WorkerConfig,
    admin: Option<SecretString>,
    backup_info: Option<String>,
    json: bool,
}

/// Runs the subcommand.
///
/// # Errors
///
/// When the configuration is invalid, the database cannot be reached, or a check fails.
pub(crate) async fn run<S: Application>(args: CheckDatabaseArgs) -> Result<(), CommandError> {
    let config = args.check::<S>()?;
    let newest = S::migrations().newest();
    let mut findings = checks::run(&config.worker, config.admin.as_ref(), newest)
        .await
        .map_err(CommandError::failed)?;
    findings.push(Finding {
        service: S::NAME,
        check: backup::NAME,
        title: backup::TITLE,
        outcome: match &config.backup_info {
            Some(info) => backup::outcome(info, Clock::system().now().timestamp()),
            None => Outcome::NotSeen {
                needs: "--pgbackrest-info: a file with the output of `pgbackrest info --output=json`"
                    .to_owned(),
            },
        },
        meaning: backup::MEANING,
        remedy: backup::REMEDY.to_owned(),
    });
    findings.extend(S::findings(&config.worker).await);
    report(&findings, config.json, &mut io::stdout()).map_err(CommandError::failed)?;
    match findings.iter().filter(|finding| finding.is_failure()).count() {
        0 => Ok(()),
        failed => Err(CommandError::failed(format!(
            "{failed} of {} checks failed",
            findings.len()
        ))),
    }
}

/// Writes the findings as JSON, or as lines with a summary.
fn report(
    findings: &[Finding],
    json: bool,
    output: &mut impl Write,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    if json {
        serde_json::to_writer_pretty(&mut *output, findings)?;
        return Ok(writeln!(output)?);
    }
    for finding in findings {
        writeln!(output, "{finding}")?;
    }
    let count = |word| {
        findings
            .iter()
            .filter(|finding| finding.outcome.word() == word)
            .count()
    };
    Ok(writeln!(
        output,
        "{} checks: {} passed, {} failed, {} warnings, {} not seen",
        findings.len(),
        count("pass"),
        count("FAIL"),
        count("warning"),
        count("not seen"),
    )?)
}

impl CheckDatabaseArgs {
    fn check<S: Application>(self) -> Result<Config, CommandError> {
        const ADMIN: &str = "ADMIN_DATABASE_URL";
        let mut problems = ConfigProblems::new();
        let worker = self.worker.check(&mut problems, S::NAME);
        let (value, file) = (
            self.admin_database_url.as_ref(),
            self.admin_database_url_file.as_ref(),
        );
        let admin = match (value, file) {
            (None, None) => None,
            _ => problems.secret(ADMIN, value, file),
        };
        if admin.as_ref().is_some_and(|url| !is_url(url)) {
            problems.add(ADMIN, "is not a postgres:// URL");
        }
        let backup_info = self.pgbackrest_info.and_then(|path| {
            let text = fs::read_to_string(&path);
            problems.take(
                "--pgbackrest-info",
                text.map_err(|error| format!("cannot read {}: {error}", path.display())),
            )
        });
        Ok(problems.finish(worker.map(|worker| Config {
            worker,
            admin,
            backup_info,
            json: self.json,
        }))?)
    }
}
