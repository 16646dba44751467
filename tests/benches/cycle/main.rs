//! Cycle records through the whole service, against `pgbench` running the same transactions in turns of one run; pulling
//! 10,000 records, against `COPY` of the same rows; and opening shares.
//!
//! ```sh
//! cargo bench -p haven-testkit --bench cycle
//! cargo bench -p haven-testkit --bench cycle -- --quick
//! ```
//!
//! Both services run as released, on a Postgres of their own that writes to disk before it answers, with 200 records of
//! each of 1,000 people in it, and 10,000 of one more. `pgbench` has as many connections as the service, to the same
//! database, as the same login, over TLS too, and sends the same statements in the same three round trips. Whoever calls
//! the service is in this process: so the callers, TLS on both sides, and the verification of every token share the cores
//! with Postgres, and the ratio says what all of that costs beside it.
//!
//! With `--quick` there are few people and one short round: that tells whether it works, and nothing else.

mod callers;
#[path = "../measure/mod.rs"]
mod measure;
mod operation;
mod rows;
mod shares;
mod transaction;
mod world;

use std::{env, time::Duration};

use anyhow::Result;

use self::{
    callers::{Callers, Turn},
    measure::{Pgbench, Spread},
    operation::Operation,
    shares::Tokens,
    transaction::Transaction,
    world::{MANY, World},
};

/// How much is measured.
struct Plan {
    /// How many people there are beside the one who has 10,000 records.
    others: u32,
    /// How many turns each side takes at each operation.
    rounds: usize,
    /// How long a turn is.
    turn: Duration,
    /// How many shares there are to be opened.
    shares: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let plan = Plan::chosen();
    let world = World::start(plan.others).await?;
    let mut transactions = Vec::new();
    for operation in [Operation::Update, Operation::Push] {
        let transaction = Transaction::of(operation, &world)?;
        transaction.check(&world).await?;
        transactions.push(transaction);
    }
    let callers = Callers::new(&world)?;
    pull(&plan, &world, &callers).await?;
    for (what, passcode) in [("OpenShare", ""), ("OpenShare with a passcode", "2580-1470")] {
        open(&plan, &world, &callers, what, passcode).await?;
    }
    for transaction in &transactions {
        compare(&plan, &world, &callers, transaction).await?;
    }
    Ok(())
}

/// One device pulls everything, and one COPY gives the same rows, in turns.
async fn pull(plan: &Plan, world: &World, callers: &Callers<'_>) -> Result<()> {
    let (mut pulled, mut copied, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // The first turn makes connections and statements, and is not counted.
    for turn in 0..=4 * plan.rounds {
        let (a, b) = (callers.pull().await?, rows::copied(world).await?);
        if turn > 0 {
            ratios.push(a / b);
            pulled.push(a);
            copied.push(b);
        }
    }
    println!(
        "PullChanges ({MANY}): {:.0} records/s, COPY {:.0} records/s; ratio {:.3}",
        Spread(pulled),
        Spread(copied),
        Spread(ratios),
    );
    Ok(())
}

/// Shares are opened, as many as can be.
async fn open(plan: &Plan, world: &World, callers: &Callers<'_>, what: &str, passcode: &str) -> Result<()> {
    let tokens = Tokens::make(world, plan.shares, passcode).await?;
    callers.open(&tokens, plan.turn / 2).await?;
    let mut turns = Vec::new();
    for _ in 0..plan.rounds {
        turns.push(callers.open(&tokens, plan.turn).await?);
    }
    let all = |value: fn(&Turn) -> f64| Spread(turns.iter().map(value).collect());
    println!(
        "{what}: {:.0}/s, {:.1} ms, 99th percentile {:.1} ms",
        all(|turn| turn.rate),
        all(|turn| turn.percentile(50)),
        all(|turn| turn.percentile(99)),
    );
    Ok(())
}

/// The service and pgbench, in turns.
async fn compare(plan: &Plan, world: &World, callers: &Callers<'_>, transaction: &Transaction) -> Result<()> {
    let operation = transaction.operation;
    let pgbench = Pgbench::new(&world.stack.database, &transaction.script())?;
    // Connections, prepared statements and what is cached are made before anything is measured.
    callers.run(operation, plan.turn / 2).await?;
    let mut done = pgbench
        .run(plan.turn / 2, &transaction.turns(world).await?)?
        .transactions;
    let mut rounds = Vec::new();
    for round in 1..=plan.rounds {
        let turns = transaction.turns(world).await?;
        // Each goes first now and then, since what goes second finds more to be written to disk.
        let (service, ran) = if round % 2 == 1 {
            let service = callers.run(operation, plan.turn).await?;
            (service, pgbench.run(plan.turn, &turns)?)
        } else {
            let ran = pgbench.run(plan.turn, &turns)?;
            (callers.run(operation, plan.turn).await?, ran)
        };
        let rate = ran.rate;
        done += ran.transactions;
        println!(
            "{operation}, round {round}: service {:.0}/s, pgbench {rate:.0}/s, ratio {:.3}",
            service.rate,
            service.rate / rate
        );
        rounds.push((service, rate));
    }
    transaction.check_done(world, done).await?;
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
    fn chosen() -> Self {
        // cargo passes arguments of its own, too.
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
