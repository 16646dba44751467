//! The subcommand `identity reconcile`, which makes identity and data agree about their people after a restore.

mod comparison;
mod data_people;
mod mending;
mod replay;
mod report;

use std::{
    io::{self, Stdout, Write},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use haven_platform::{
    application::{Application, CommandError},
    client::channel,
    config::{ConfigProblems, TlsArgs, WorkerArgs},
    database::Database,
    entropy::Entropy,
    time::Clock,
    tls::Tls,
};
use haven_proto::data::v1::person_service_client::PersonServiceClient;
use thiserror::Error;
use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    comparison::{Compared, Comparison},
    data_people::DataPeople,
    mending::{Listing, Mending, MendingError},
    replay::{Replay, ReplayError},
    report::{Counts, Number, Progress, print_counts},
};
use crate::{
    Identity,
    config::DeliveryArgs,
    dispatcher::Dispatcher,
    domain::reconciliation::OrphanLimit,
    store::{outbox::Outbox, reconciliation::Reconciliation},
};

/// The time for which messages are delivered at the end, before the rest is left to the service.
const DELIVERY_TIME: Duration = Duration::from_secs(60);

/// The arguments of `identity reconcile`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ReconcileArgs {
    /// Mend what differs; without this flag, it is only listed
    #[arg(long)]
    apply: bool,
    /// First erase again everyone in these journals of erasures, the files of ERASURE_JOURNAL
    #[arg(long, value_name = "FILE", num_args = 1..)]
    erasures: Vec<PathBuf>,
    /// Only replay the journals: works while data does not run, and its erasures wait in the outbox
    #[arg(long, requires = "erasures")]
    without_data: bool,
    /// Erase everyone in data without an account and a receipt who was locked by an earlier run
    #[arg(long, requires = "apply", conflicts_with = "without_data")]
    erase_orphans: bool,
    /// Largest share of the people in data, in percent, who may be locked or erased as orphans in one run. Up to ten are
    /// always accepted, unless identity has neither an account nor a receipt
    #[arg(long, value_name = "PERCENT", default_value_t = OrphanLimit::DEFAULT_PERCENT, value_parser = percent)]
    max_orphans: f64,
    /// Seconds for which a person in data counts as just signed up and is not judged, and for which a locked person is not
    /// erased
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    grace: u32,
    #[command(flatten, next_help_heading = "Postgres")]
    worker: WorkerArgs,
    #[command(flatten, next_help_heading = "TLS and data")]
    tls: TlsArgs,
    #[command(flatten, next_help_heading = "TLS and data")]
    delivery: DeliveryArgs,
}

const AFTER_HELP: &str = "\
Run it after a restore of identity's schema, data's schema, or both, with the environment of `serve`. Both services may run \
meanwhile. It can be stopped at any time and started again, and a run that finds nothing changes nothing.

  provision      has an account, and data does not know the person: data is told
  unlock         has an account, and data has locked the person: data is told
  erase-in-data  was erased, and data has no tombstone: data erases the person again
  erase-account  has an account, and data has erased the person: the account is erased again
  keep-receipt   was erased by data, and has no receipt: it is written
  lock           is in data, and has neither an account nor a receipt: the person's rows are kept, and no call reaches them
  locked         stays locked, until there is an account, ProvisionUser is called, or --erase-orphans is given

Only a receipt, a tombstone or a journal shows that a person was erased. No person is erased for being absent on one side.

Exit codes: 0 both services agree (some people may be locked), 1 they differ, or the command failed, 64 the configuration is \
invalid.";

/// The reason why the services do not agree.
#[derive(Debug, Error)]
enum ReconcileError {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Mending(#[from] MendingError),
    #[error("{} people differ, and nothing was changed: run the command again with --apply", Number(*.0))]
    Differs(u64),
    #[error(
        "{} of {} people in data have neither an account nor a receipt, which is more than {}% or ten: nothing of the comparison \
         was changed. Check that identity is the one that belongs to this data, and was restored to the right time; then accept \
         more with --max-orphans",
        Number(*.orphans), Number(*.people), .percent
    )]
    TooManyOrphans { orphans: u64, people: u64, percent: f64 },
    #[error(
        "{} messages to data were not delivered yet: the service delivers them, and its log has the reasons; then run the command \
         again",
        Number(*.0)
    )]
    Undelivered(u64),
    #[error("{} people still differ: run the command again", Number(*.0))]
    StillDiffers(u64),
}

impl From<haven_platform::database::DbError> for ReconcileError {
    fn from(error: haven_platform::database::DbError) -> Self {
        Self::Mending(error.into())
    }
}

impl From<io::Error> for ReconcileError {
    fn from(error: io::Error) -> Self {
        Self::Mending(error.into())
    }
}

/// Parses a share in percent.
fn percent(text: &str) -> Result<f64, &'static str> {
    let percent = text.parse().ok();
    percent
        .filter(|percent| (0.0..=100.0).contains(percent))
        .ok_or("must be a number from 0 to 100")
}

/// Runs the subcommand.
///
/// # Errors
///
/// When the configuration is invalid, the services differ, or one of them fails.
pub(crate) async fn run(args: ReconcileArgs) -> Result<(), CommandError> {
    let mut problems = ConfigProblems::new();
    let worker = args.worker.check(&mut problems, Identity::NAME);
    let delivery = args.delivery.check(&mut problems);
    let tls_files = match args.without_data {
        true => None,
        false => args.tls.check(&mut problems),
    };
    let (worker, delivery) = problems.finish(worker.zip(delivery))?;
    let newest = Identity::migrations().newest();
    let database = Database::worker_only(&worker, newest).await;
    let database = Arc::new(database.map_err(CommandError::failed)?);
    let (clock, entropy) = (Clock::system(), Entropy::system());
    let here = Reconciliation::new(Arc::clone(&database));
    let mut output = io::stdout();
    let replay = Replay {
        journals: &args.erasures,
        here: &here,
        clock: &clock,
        entropy: &entropy,
        applies: args.apply,
    };
    let mut to_erase = 0;
    if !args.erasures.is_empty() {
        to_erase = replay.run(&mut output).await.map_err(CommandError::failed)?;
    }
    let Some(tls_files) = tls_files else {
        return match args.apply || to_erase == 0 {
            true => Ok(()),
            false => Err(CommandError::failed(ReconcileError::Differs(to_erase))),
        };
    };
    let tls = Tls::load(tls_files).map_err(CommandError::failed)?;
    let data = channel(&delivery.data_url, Arc::new(tls)).map_err(CommandError::failed)?;
    let people = PersonServiceClient::new(data);
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let outbox = Outbox::new(Arc::clone(&database));
    let run = Run {
        there: DataPeople::new(people.clone()),
        dispatcher: Dispatcher::new(
            outbox.clone(),
            people,
            delivery.journal,
            (clock.clone(), entropy.clone()),
            tasks.clone(),
            stop.clone(),
        ),
        grace: TimeDelta::seconds(args.grace.into()),
        here,
        outbox,
        clock,
        entropy,
        args: &args,
        output,
    };
    let outcome = run.run(to_erase).await;
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    outcome.map_err(CommandError::failed)
}

/// A run of the comparison, and what it works with.
struct Run<'a> {
    here: Reconciliation,
    there: DataPeople,
    dispatcher: Dispatcher,
    outbox: Outbox,
    clock: Clock,
    entropy: Entropy,
    grace: TimeDelta,
    args: &'a ReconcileArgs,
    output: Stdout,
}

impl Run<'_> {
    /// Compares all people, and mends those who differ if the arguments say so. `to_erase` people of the journals are still to
    /// be erased, if the arguments do not say so.
    async fn run(mut self, to_erase: u64) -> Result<(), ReconcileError> {
        let began = self.clock.now();
        if self.args.apply {
            // What waits is delivered first, so that it does not count as waiting.
            self.dispatcher.deliver_all().await?;
            let (compared, counts) = self.count("comparing", began, false).await?;
            print_counts(&mut self.output, &compared, &counts)?;
            self.check_orphans(&compared, &counts)?;
            if counts.differing() > 0 || self.args.erase_orphans {
                self.mend(began, compared.here).await?;
            }
            self.deliver().await?;
            let (compared, counts) = self.count("verifying", began, false).await?;
            writeln!(self.output, "after mending:")?;
            print_counts(&mut self.output, &compared, &counts)?;
            return match counts.differing() {
                0 => Ok(()),
                people => Err(ReconcileError::StillDiffers(people)),
            };
        }
        let (compared, counts) = self.count("comparing", began, true).await?;
        print_counts(&mut self.output, &compared, &counts)?;
        self.check_orphans(&compared, &counts)?;
        match counts.differing() + to_erase {
            0 => Ok(()),
            people => Err(ReconcileError::Differs(people)),
        }
    }

    /// Compares all people and counts those who differ, and lists them if `lists` is set.
    async fn count(
        &self,
        name: &'static str,
        began: DateTime<Utc>,
        lists: bool,
    ) -> Result<(Compared, Counts), ReconcileError> {
        let mut listing = Listing {
            counts: Counts::default(),
            progress: Progress::new(name, self.here.count().await?),
            output: lists.then(io::stdout),
        };
        let compared = self.comparison(began).run(&mut listing).await?;
        Ok((compared, listing.counts))
    }

    async fn mend(&self, began: DateTime<Utc>, total: u64) -> Result<(), ReconcileError> {
        let mut mending = Mending {
            here: &self.here,
            there: &self.there,
            dispatcher: &self.dispatcher,
            clock: &self.clock,
            entropy: &self.entropy,
            erased_before: self.args.erase_orphans.then(|| began - self.grace),
            progress: Progress::new("mending", total),
            output: io::stdout(),
        };
        self.comparison(began).run(&mut mending).await?;
        Ok(())
    }

    fn comparison(&self, began: DateTime<Utc>) -> Comparison<'_> {
        Comparison {
            here: &self.here,
            there: &self.there,
            judged_before: began - self.grace,
        }
    }

    /// Fails when there are more orphans than the arguments accept.
    fn check_orphans(&self, compared: &Compared, counts: &Counts) -> Result<(), ReconcileError> {
        let percent = self.args.max_orphans;
        let mut orphans = counts.lock;
        if self.args.erase_orphans {
            orphans += counts.locked;
        }
        match (OrphanLimit { percent }).accepts(orphans, compared.there, compared.here) {
            true => Ok(()),
            false => Err(ReconcileError::TooManyOrphans {
                orphans,
                people: compared.there,
                percent,
            }),
        }
    }

    /// Delivers the messages in the outbox, for at most [`DELIVERY_TIME`]. Those of people who sign up meanwhile are the
    /// service's.
    async fn deliver(&self) -> Result<(), ReconcileError> {
        let until = self.clock.now();
        let limit = Instant::now() + DELIVERY_TIME;
        loop {
            self.dispatcher.deliver_all().await?;
            match self.outbox.count(until).await? {
                0 => return Ok(()),
                messages if Instant::now() > limit => return Err(ReconcileError::Undelivered(messages)),
                _ => sleep(Duration::from_millis(250)).await,
            }
        }
    }
}
