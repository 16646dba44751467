//! Benchmark of ConversationService: compares the service with `pgbench`, which runs the same transactions, in
//! alternating turns; and compares the time of a page among few and among many rows of other people.
//!
//! ```sh
//! cargo bench -p haven-testkit --bench conversations
//! cargo bench -p haven-testkit --bench conversations -- --quick
//! ```
//!
//! Both services are release builds, on a separate durable Postgres with 1,000 messages of each of 1,000 people.
//! `pgbench` has as many connections as the service, to the same database, with the same login and TLS, and sends the
//! same statements in the same three round trips. The callers of the service are in this process. So the callers, TLS
//! on both sides, and the verification of every token share the cores with Postgres, and the ratio shows the cost of
//! all of that.
//!
//! `--quick` uses few people and one short round. It only checks that the benchmark works.

mod callers;
mod loaded_stack;
#[path = "../measure/mod.rs"]
mod measure;
mod operation;
mod transaction;

use std::{env, time::Duration};

use anyhow::Result;

use self::{
    callers::{Callers, Turn},
    loaded_stack::LoadedStack,
    measure::{Pgbench, Spread},
    operation::Operation,
    transaction::Transaction,
};

/// The size of the benchmark.
struct Plan {
    /// The number of other people in the large installation, each with 1,000 messages.
    others: u32,
    /// The number of turns of each side, for each operation.
    rounds: usize,
    /// The duration of a turn.
    turn: Duration,
    /// The number of pages that are read per turn in each of the two installations.
    pages: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let plan = Plan::from_arguments();
    let large = LoadedStack::start(plan.others).await?;
    let mut transactions = Vec::new();
    // Append is last, because the messages that pgbench appends are all sealed for the same row, and the service could
    // not read them.
    for operation in [Operation::Get, Operation::List, Operation::Append] {
        let transaction = Transaction::of(operation, &large)?;
        transaction.check(&large).await?;
        transactions.push(transaction);
    }
    page_time(&plan, &large).await?;
    for transaction in &transactions {
        compare(&plan, &large, transaction).await?;
    }
    Ok(())
}

/// Measures the newest page of one person with one caller, in a small and a large installation in alternating turns.
async fn page_time(plan: &Plan, large: &LoadedStack) -> Result<()> {
    let small = LoadedStack::start(1).await?;
    let (few, many) = (Callers::new(&small)?, Callers::new(large)?);
    let (mut among_few, mut among_many, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first turn opens connections and prepares statements, and is not counted.
    for turn in 0..=4 * plan.rounds {
        let (a, b) = (few.pages(plan.pages).await?, many.pages(plan.pages).await?);
        if turn > 0 {
            ratios.push(b.as_secs_f64() / a.as_secs_f64());
            among_few.push(a.as_secs_f64() * 1000.0);
            among_many.push(b.as_secs_f64() * 1000.0);
        }
    }
    println!(
        "one caller's {}: {:.3} ms among {} rows of others, {:.3} ms among {}; ratio {:.3}\n\
         (medians of {} turns of {} calls each, taken alternately)",
        Operation::List,
        Spread(among_few),
        small.rows_of_others(),
        Spread(among_many),
        large.rows_of_others(),
        Spread(ratios),
        4 * plan.rounds,
        plan.pages,
    );
    Ok(())
}

/// Measures the service and pgbench in alternating turns.
async fn compare(plan: &Plan, loaded: &LoadedStack, transaction: &Transaction) -> Result<()> {
    let operation = transaction.operation;
    let (callers, pgbench) = (
        Callers::new(loaded)?,
        Pgbench::new(&loaded.stack.database, &transaction.script(loaded))?,
    );
    // Opens connections, prepares statements and fills caches before the measurement.
    callers.run(operation, plan.turn / 2).await?;
    pgbench.run(plan.turn / 2, &[])?;
    let mut rounds = Vec::new();
    for round in 1..=plan.rounds {
        // The order alternates, because the second side has more data to write to disk.
        let (service, transactions) = if round % 2 == 1 {
            let service = callers.run(operation, plan.turn).await?;
            (service, pgbench.run(plan.turn, &[])?.rate)
        } else {
            let transactions = pgbench.run(plan.turn, &[])?.rate;
            (callers.run(operation, plan.turn).await?, transactions)
        };
        println!(
            "{operation}, round {round}: service {:.0}/s, pgbench {transactions:.0}/s, ratio {:.3}",
            service.rate,
            service.rate / transactions
        );
        rounds.push((service, transactions));
    }
    let all = |value: fn(&(Turn, f64)) -> f64| Spread(rounds.iter().map(value).collect());
    println!(
        "{operation}: service {:.0}/s, {:.1} ms, 99th percentile {:.1} ms; pgbench {:.0}/s; ratio {:.3}",
        all(|(service, _)| service.rate),
        all(|(service, _)| service.percentile(50)),
        all(|(service, _)| service.percentile(99)),
        all(|(_, transactions)| *transactions),
        all(|(service, transactions)| service.rate / transactions),
    );
    Ok(())
}

impl Plan {
    /// Returns the plan for the arguments of this program.
    fn from_arguments() -> Self {
        // Other arguments are from cargo.
        let quick = env::args().any(|argument| argument == "--quick");
        let seconds = Duration::from_secs;
        let (others, rounds, turn, pages) = match quick {
            true => (20, 1, seconds(2), 20),
            false => (1000, 5, seconds(8), 100),
        };
        Self {
            others,
            rounds,
            turn,
            pages,
        }
    }
}
