//! Benchmark of CycleService and ShareService: compares the service with `pgbench`, which runs the same transactions,
//! in alternating turns; compares a pull of 10,000 records with `COPY` of the same rows; and measures OpenShare.
//!
//! ```sh
//! cargo bench -p haven-testkit --bench cycle
//! cargo bench -p haven-testkit --bench cycle -- UpdateRecord PushChanges --against DIR
//! ```
//!
//! Both services are release builds, on a separate durable Postgres with 200 records of each of 1,000 people, and
//! 10,000 records of one more. `pgbench` has as many connections as the service, to the same database, with the same
//! login and TLS, and sends the same statements in the same round trips. `COPY` has the same login and TLS too, and one
//! connection; its client is in this process and throws the rows away. The callers of the service are in this process.
//! So the callers, TLS on both sides, and the verification of every token share the cores with Postgres, and the ratio of
//! rates shows the cost of all of that. The ratio of capacities leaves the clients out.

mod callers;
mod loaded_stack;
#[path = "../measure/mod.rs"]
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod measure;
mod operation;
mod rows;
mod shares;
mod transaction;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use anyhow::Result;
use futures_util::FutureExt;

use self::{
    callers::{Callers, Versions},
    loaded_stack::LoadedStack,
    measure::{
        comparison::{Work, compare},
        options::Options,
        pgbench::Pgbench,
        profile::profile,
        side::{Kind, Side},
    },
    operation::Operation,
    shares::Tokens,
    transaction::Transaction,
};

/// The default number of concurrent callers. It is high enough to keep the service busy.
const CALLERS: usize = 32;

/// The passcode of shares that have one.
const PASSCODE: &str = "2580-1470";

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(
        "Compares UpdateRecord and PushChanges with pgbench, and PullChanges with COPY; measures OpenShare",
        &["PullChanges", "OpenShare", "UpdateRecord", "PushChanges"],
    );
    let loaded = LoadedStack::start(options.people(64, 1024), &options).await?;
    let (versions, count) = (Versions::new(&loaded), options.callers(CALLERS));
    let builds = loaded.builds.all();
    let callers: Vec<_> = builds
        .iter()
        .map(|build| Callers::new(&loaded, *build, count, &versions))
        .collect::<Result<_>>()?;
    let sides = Sides {
        options: &options,
        loaded: &loaded,
        callers: builds.iter().map(|build| build.name).zip(&callers).collect(),
    };
    if options.wants("PullChanges") {
        sides.pull().await?;
    }
    if options.wants("OpenShare") {
        sides.open("OpenShare", "").await?;
        sides.open("OpenShare with a passcode", PASSCODE).await?;
    }
    for operation in Operation::ALL {
        if options.wants(operation.name()) {
            sides.change(operation).await?;
        }
    }
    Ok(())
}

/// The builds that are measured, each with its callers.
struct Sides<'a> {
    options: &'a Options,
    loaded: &'a LoadedStack,
    callers: Vec<(&'static str, &'a Callers<'a>)>,
}

impl<'a> Sides<'a> {
    /// Returns the callers of this build.
    fn this(&self) -> &'a Callers<'a> {
        self.callers[0].1
    }

    /// Measures pulls of all records of one person, and COPY of the same rows.
    async fn pull(&self) -> Result<()> {
        let (this, loaded) = (self.this(), self.loaded);
        if self.options.profile {
            let run = |turn| this.pull(turn).boxed();
            return profile("PullChanges", this.meter(), self.options.turn(), run).await;
        }
        let mut sides = Vec::new();
        for (name, callers) in self.callers.iter().copied() {
            sides.push(Side::new(name, Kind::Service, move |turn| {
                callers.pull(turn).boxed()
            }));
        }
        sides.push(Side::new("COPY over TLS", Kind::Postgres, move |turn| {
            rows::copy(loaded, this.meter(), turn).boxed()
        }));
        let work = Work {
            name: "PullChanges (10,000)".to_owned(),
            units: "records",
            amounts: &[(10_000.0, "10,000 records")],
        };
        compare(&work, self.options, sides).await
    }

    /// Measures OpenShare with shares that have the passcode `passcode`, or none if it is empty.
    async fn open(&self, name: &'static str, passcode: &str) -> Result<()> {
        let tokens = Tokens::create(self.loaded, self.options.choose(16, 256), passcode).await?;
        let tokens = &tokens;
        let this = self.this();
        if self.options.profile {
            let run = |turn| this.open(tokens, turn).boxed();
            return profile(name, this.meter(), self.options.turn(), run).await;
        }
        let sides = self.callers.iter().copied().map(|(name, callers)| {
            Side::new(name, Kind::Service, move |turn| {
                callers.open(tokens, turn).boxed()
            })
        });
        compare(&Work::requests(name), self.options, sides.collect()).await
    }

    /// Measures UpdateRecord or PushChanges, and pgbench.
    async fn change(&self, operation: Operation) -> Result<()> {
        let (this, loaded) = (self.this(), self.loaded);
        if self.options.profile {
            let run = |turn| this.run(operation, turn).boxed();
            return profile(operation.name(), this.meter(), self.options.turn(), run).await;
        }
        let transaction = Transaction::of(operation, loaded).await?;
        transaction.check(loaded).await?;
        let mut scripts = Vec::new();
        for trips in transaction.trips() {
            let script = transaction.script(*trips);
            scripts.push((*trips, Pgbench::new(&loaded.stack().database, &script)?));
        }
        let (transaction, done) = (&transaction, &AtomicU64::new(0));
        let mut sides = Vec::new();
        for (name, callers) in self.callers.iter().copied() {
            sides.push(Side::new(name, Kind::Service, move |turn| {
                callers.run(operation, turn).boxed()
            }));
        }
        for (trips, pgbench) in &scripts {
            sides.push(Side::new(Pgbench::name(*trips), Kind::Postgres, move |turn| {
                async move {
                    let turns = transaction.turns(loaded).await?;
                    let turn = pgbench.run(this.meter(), turn, &turns)?;
                    done.fetch_add(turn.work, Relaxed);
                    Ok(turn)
                }
                .boxed()
            }));
        }
        compare(&operation.work(), self.options, sides).await?;
        transaction.check_done(loaded, done.load(Relaxed)).await
    }
}
