//! Benchmark of CycleService and ShareService: compares the service with `pgbench`, which runs the same transactions,
//! in alternating turns; compares a pull of 10,000 records with `COPY` of the same rows; and measures OpenShare.
//!
//! ```sh
//! cargo bench -p haven-testkit --bench cycle
//! cargo bench -p haven-testkit --bench cycle -- --quick
//! ```
//!
//! Both services are release builds, on a separate durable Postgres with 200 records of each of 1,000 people, and
//! 10,000 records of one more. `pgbench` has as many connections as the service, to the same database, with the same
//! login and TLS, and sends the same statements in the same three round trips. The callers of the service are in this
//! process. So the callers, TLS on both sides, and the verification of every token share the cores with Postgres, and
//! the ratio shows the cost of all of that.
//!
//! `--quick` uses few people and one short round. It only checks that the benchmark works.

mod callers;
mod loaded_stack;
#[path = "../measure/mod.rs"]
mod measure;
mod operation;
mod rows;
mod shares;
mod transaction;

use std::{env, time::Duration};

use anyhow::Result;

use self::{
    callers::{Callers, Turn},
    loaded_stack::{LoadedStack, PULLED_RECORDS},
    measure::{Pgbench, Spread},
    operation::Operation,
    shares::Tokens,
    transaction::Transaction,
};

/// The size of the benchmark.
struct Plan {
    /// The number of people besides the one with 10,000 records.
    others: u32,
    /// The number of turns of each side, for each operation.
    rounds: usize,
    /// The duration of a turn.
    turn: Duration,
    /// The number of shares.
    shares: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let plan = Plan::from_arguments();
    let loaded = LoadedStack::start(plan.others).await?;
    let mut transactions = Vec::new();
    for operation in [Operation::Update, Operation::Push] {
        let transaction = Transaction::of(operation, &loaded)?;
        transaction.check(&loaded).await?;
        transactions.push(transaction);
    }
    let callers = Callers::new(&loaded)?;
    pull(&plan, &loaded, &callers).await?;
    for (name, passcode) in [("OpenShare", ""), ("OpenShare with a passcode", "2580-1470")] {
        open(&plan, &loaded, &callers, name, passcode).await?;
    }
    for transaction in &transactions {
        compare(&plan, &loaded, &callers, transaction).await?;
    }
    Ok(())
}

/// Measures a pull of all records of one person, and a COPY of the same rows, in alternating turns.
async fn pull(plan: &Plan, loaded: &LoadedStack, callers: &Callers<'_>) -> Result<()> {
    let (mut pulled, mut copied, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first turn opens connections and prepares statements, and is not counted.
    for turn in 0..=4 * plan.rounds {
        let (a, b) = (callers.pull().await?, rows::copy_rate(loaded).await?);
        if turn > 0 {
            ratios.push(a / b);
            pulled.push(a);
            copied.push(b);
        }
    }
    println!(
        "PullChanges ({PULLED_RECORDS}): {:.0} records/s, COPY {:.0} records/s; ratio {:.3}",
        Spread(pulled),
        Spread(copied),
        Spread(ratios),
    );
    Ok(())
}

/// Measures OpenShare with shares that have the passcode `passcode`, or none if it is empty.
async fn open(
    plan: &Plan,
    loaded: &LoadedStack,
    callers: &Callers<'_>,
    name: &str,
    passcode: &str,
) -> Result<()> {
    let tokens = Tokens::create(loaded, plan.shares, passcode).await?;
    callers.open(&tokens, plan.turn / 2).await?;
    let mut turns = Vec::new();
    for _ in 0..plan.rounds {
        turns.push(callers.open(&tokens, plan.turn).await?);
    }
    let all = |value: fn(&Turn) -> f64| Spread(turns.iter().map(value).collect());
    println!(
        "{name}: {:.0}/s, {:.1} ms, 99th percentile {:.1} ms",
        all(|turn| turn.rate),
        all(|turn| turn.percentile(50)),
        all(|turn| turn.percentile(99)),
    );
    Ok(())
}

/// Measures the service and pgbench in alternating turns.
async fn compare(
    plan: &Plan,
    loaded: &LoadedStack,
    callers: &Callers<'_>,
    transaction: &Transaction,
) -> Result<()> {
    let operation = transaction.operation;
    let pgbench = Pgbench::new(&loaded.stack.database, &transaction.script())?;
    // Opens connections, prepares statements and fills caches before the measurement.
    callers.run(operation, plan.turn / 2).await?;
    let mut done = pgbench
        .run(plan.turn / 2, &transaction.turns(loaded).await?)?
        .transactions;
    let mut rounds = Vec::new();
    for round in 1..=plan.rounds {
        let turns = transaction.turns(loaded).await?;
        // The order alternates, because the second side has more data to write to disk.
        let (service, run) = if round % 2 == 1 {
            let service = callers.run(operation, plan.turn).await?;
            (service, pgbench.run(plan.turn, &turns)?)
        } else {
            let run = pgbench.run(plan.turn, &turns)?;
            (callers.run(operation, plan.turn).await?, run)
        };
        let rate = run.rate;
        done += run.transactions;
        println!(
            "{operation}, round {round}: service {:.0}/s, pgbench {rate:.0}/s, ratio {:.3}",
            service.rate,
            service.rate / rate
        );
        rounds.push((service, rate));
    }
    transaction.check_done(loaded, done).await?;
    let all = |value: fn(&(Turn, f64)) -> f64| Spread(rounds.iter().map(value).collect());
    println!(
        "{operation}: service {:.0}/s, {:.1} ms, 99th percentile {:.1} ms; pgbench {:.0}/s; ratio {:.3}",
        all(|(service, _)| service.rate),
        all(|(service, _)| service.percentile(50)),
        all(|(service, _)| service.percentile(99)),
        all(|(_, rate)| *rate),
        all(|(service, rate)| service.rate / rate),
    );
    Ok(())
}

impl Plan {
    /// Returns the plan for the arguments of this program.
    fn from_arguments() -> Self {
        // Other arguments are from cargo.
        let quick = env::args().any(|argument| argument == "--quick");
        let seconds = Duration::from_secs;
        let (others, rounds, turn, shares) = match quick {
            true => (64, 1, seconds(2), 16),
            false => (1024, 5, seconds(8), 256),
        };
        Self {
            others,
            rounds,
            turn,
            shares,
        }
    }
}
