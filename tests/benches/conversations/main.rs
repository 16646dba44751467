//! Benchmark of ConversationService: compares the service with `pgbench`, which runs the same transactions, in
//! alternating turns; and compares the time of a page among few and among many rows of other people.
//!
//! ```sh
//! cargo bench -p haven-testkit --bench conversations
//! cargo bench -p haven-testkit --bench conversations -- GetMessage --against DIR
//! cargo bench -p haven-testkit --bench conversations -- growth --foreign-rows 10000000
//! ```
//!
//! Both services are release builds, on a separate durable Postgres with 1,000 messages of each of 1,000 people.
//! `pgbench` has as many connections as the service, to the same database, with the same login and TLS, and sends the
//! same statements in the same round trips. The callers of the service are in this process. So the callers, TLS on both
//! sides, and the verification of every token share the cores with Postgres, and the ratio of rates shows the cost of
//! all of that. The ratio of capacities leaves the clients out.

mod callers;
mod foreign;
mod loaded_stack;
#[path = "../measure/mod.rs"]
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod measure;
mod operation;
mod transaction;

use anyhow::Result;
use futures_util::FutureExt;

use self::{
    callers::Callers,
    loaded_stack::LoadedStack,
    measure::{
        comparison::{Work, compare},
        options::Options,
        pgbench::Pgbench,
        profile::profile,
        side::{Kind, Side},
        spread::Spread,
    },
    operation::Operation,
    transaction::Transaction,
};

/// The default number of concurrent callers. It is high enough to keep the service busy.
const CALLERS: usize = 32;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(
        "Compares GetMessage, ListMessages and AppendMessage with pgbench; `growth` compares pages among few and many rows",
        &["GetMessage", "ListMessages", "AppendMessage", "growth"],
    );
    let large = LoadedStack::start(options.people(20, 1000), options.foreign_rows, &options).await?;
    if options.wants("growth") && !options.profile {
        page_time(&options, &large).await?;
    }
    for operation in Operation::ALL {
        if options.wants(operation.name()) {
            measure(&options, &large, operation).await?;
        }
    }
    Ok(())
}

/// Measures the newest page of one person with one caller, in a small and a large installation in alternating turns.
async fn page_time(options: &Options, large: &LoadedStack) -> Result<()> {
    let small = LoadedStack::start(1, 0, options).await?;
    let this = |loaded| Callers::new(loaded, loaded.builds.all()[0], 1);
    let (few, many) = (this(&small)?, this(large)?);
    let (turns, pages) = (4 * options.rounds(), options.choose(20, 100));
    let (mut among_few, mut among_many, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first turn opens connections and prepares statements, and is not counted.
    for turn in 0..=turns {
        let (a, b) = (few.pages(pages).await?, many.pages(pages).await?);
        if turn > 0 {
            ratios.push(b.as_secs_f64() / a.as_secs_f64());
            among_few.push(a.as_secs_f64() * 1000.0);
            among_many.push(b.as_secs_f64() * 1000.0);
        }
    }
    println!(
        "growth of one caller's ListMessages: {:.3} ms among {} rows of others, {:.3} ms among {}; ratio {:.3}\n\
         (medians of {turns} turns of {pages} calls each, taken alternately)\n",
        Spread(among_few),
        small.rows_of_others(),
        Spread(among_many),
        large.rows_of_others(),
        Spread(ratios),
    );
    Ok(())
}

/// Measures the builds and pgbench in alternating turns.
async fn measure(options: &Options, loaded: &LoadedStack, operation: Operation) -> Result<()> {
    let builds = loaded.builds.all();
    let count = options.callers(CALLERS);
    let callers: Vec<_> = builds
        .iter()
        .map(|build| Callers::new(loaded, *build, count))
        .collect::<Result<_>>()?;
    let meter = callers[0].meter();
    if options.profile {
        return profile(operation.name(), meter, options.turn(), |turn| {
            callers[0].run(operation, turn).boxed()
        })
        .await;
    }
    let transaction = Transaction::of(operation, loaded).await?;
    transaction.check(loaded).await?;
    let scripts: Vec<_> = transaction
        .trips()
        .iter()
        .map(|trips| {
            let script = transaction.script(*trips, loaded);
            anyhow::Ok((*trips, Pgbench::new(&loaded.stack().database, &script)?))
        })
        .collect::<Result<_>>()?;
    let mut sides = Vec::new();
    for (build, callers) in builds.iter().zip(&callers) {
        sides.push(Side::new(build.name, Kind::Service, move |turn| {
            callers.run(operation, turn).boxed()
        }));
    }
    for (trips, pgbench) in &scripts {
        sides.push(Side::new(Pgbench::name(*trips), Kind::Postgres, move |turn| {
            async move { pgbench.run(meter, turn, &[]) }.boxed()
        }));
    }
    compare(&Work::requests(operation.name()), options, sides).await
}
