//! Messages through the whole service, against `pgbench` running the same transactions in turns of one run; and what a
//! page costs among few and among many rows of other people.
//!
//! ```sh
//! cargo bench -p haven-testkit --bench conversations
//! cargo bench -p haven-testkit --bench conversations -- --quick
//! ```
//!
//! Both services run as released, on a Postgres of their own that writes to disk before it answers, with 1,000
//! messages of each of 1,000 people in it. `pgbench` has as many connections as the service, to the same database, as
//! the same login, over TLS too, and sends the same statements in the same three round trips. Whoever calls the
//! service is in this process: so the callers, TLS on both sides, and the verification of every token share the cores
//! with Postgres, and the ratio says what all of that costs beside it.
//!
//! With `--quick` there are few people and one short round: that tells whether it works, and nothing else.

mod callers;
#[path = "../measure/mod.rs"]
mod measure;
mod operation;
mod transaction;
mod world;

use std::{env, time::Duration};

use anyhow::Result;

use self::{
    callers::{Callers, Turn},
    measure::{Pgbench, Spread},
    operation::Operation,
    transaction::Transaction,
    world::World,
};

/// How much is measured.
struct Plan {
    /// How many others there are in the large world, each with 1,000 messages.
    others: u32,
    /// How many turns each side takes at each operation.
    rounds: usize,
    /// How long a turn is.
    turn: Duration,
    /// How many pages are read at a time in each of the two worlds.
    pages: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let plan = Plan::chosen();
    let large = World::start(plan.others).await?;
    let mut transactions = Vec::new();
    // What pgbench appends is sealed for one place alone, and the service would not open it elsewhere: append comes last.
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

/// One caller reads the newest page of one person again and again, in two worlds in turns.
async fn page_time(plan: &Plan, large: &World) -> Result<()> {
    let small = World::start(1).await?;
    let (few, many) = (Callers::new(&small)?, Callers::new(large)?);
    let (mut among_few, mut among_many, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first turn makes connections and statements, and is not counted.
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

/// The service and pgbench, in turns.
async fn compare(plan: &Plan, world: &World, transaction: &Transaction) -> Result<()> {
    let operation = transaction.operation;
    let (callers, pgbench) = (
        Callers::new(world)?,
        Pgbench::new(&world.stack.database, &transaction.script(world))?,
    );
    // Connections, prepared statements and what is cached are made before anything is measured.
    callers.run(operation, plan.turn / 2).await?;
    pgbench.run(plan.turn / 2, &[])?;
    let mut rounds = Vec::new();
    for round in 1..=plan.rounds {
        // Each goes first now and then, since what goes second finds more to be written to disk.
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
    fn chosen() -> Self {
        // cargo passes arguments of its own, too.
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
