//! Measures the sides of a comparison in alternating turns, and prints the results.

use anyhow::{Context, Result};

use super::{
    options::Options,
    side::{Kind, Side},
    spread::Spread,
};

/// What is measured, and how its results are printed.
pub(crate) struct Work {
    /// The name of the operation.
    pub(crate) name: String,
    /// The plural of a unit of work.
    pub(crate) units: &'static str,
    /// The amounts of work that the CPU time is printed for, with their names.
    pub(crate) amounts: &'static [(f64, &'static str)],
}

impl Work {
    /// Returns work that is measured in requests.
    pub(crate) fn requests(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            units: "requests",
            amounts: &[(1.0, "a request")],
        }
    }
}

/// Measures all sides round by round, and prints a summary.
pub(crate) async fn compare(work: &Work, options: &Options, mut sides: Vec<Side<'_>>) -> Result<()> {
    let (turn, count) = (options.turn(), sides.len());
    let failed = |side: &Side<'_>| format!("{}: {}", work.name, side.name);
    for side in &mut sides {
        side.warm_up(turn / 2).await.with_context(|| failed(side))?;
    }
    for round in 0..options.rounds() {
        let mut rates = Vec::new();
        // Another side begins each round, because a later one has more data to write to disk.
        for index in 0..count {
            let side = &mut sides[(round + index) % count];
            let (name, context) = (side.name, failed(side));
            let rate = side.take(turn).await.context(context)?.rate();
            rates.push(format!("{name} {rate:.0}/s"));
        }
        println!("{}, round {}: {}", work.name, round + 1, rates.join(", "));
    }
    println!();
    println!(
        "{} ({} rounds of {} s):",
        work.name,
        options.rounds(),
        turn.as_secs()
    );
    for side in &sides {
        print_side(work, side);
    }
    for (index, side) in sides.iter().enumerate() {
        for baseline in sides.iter().skip(index + 1) {
            print_ratios(side, baseline);
        }
    }
    println!();
    Ok(())
}

/// Prints what one side did, what it cost, and its capacity.
fn print_side(work: &Work, side: &Side<'_>) {
    let rate = Spread(side.values(|turn| turn.rate()));
    print!("  {}: {rate:.0} {}/s", side.name, work.units);
    for (percent, name) in [(50, "median"), (95, "95th percentile"), (99, "99th percentile")] {
        let values: Vec<f64> = side
            .turns
            .iter()
            .filter_map(|turn| turn.percentile(percent))
            .collect();
        if !values.is_empty() {
            print!(", {name} {:.1} ms", Spread(values));
        }
    }
    println!();
    for (amount, name) in work.amounts {
        let of = |value: fn(&super::turn::Turn) -> f64| {
            Spread(side.values(|turn| amount * turn.each(value(turn))))
        };
        print!("    CPU for {name}:");
        if side.kind == Kind::Service {
            print!(" service {:.3} ms,", of(|turn| turn.cpu.service));
        }
        if side.kind != Kind::Hashes {
            print!(" Postgres {:.3} ms,", of(|turn| turn.cpu.postgres));
        }
        println!(" clients {:.3} ms", of(|turn| turn.cpu.clients));
    }
    println!("    capacity: {:.0} {}/s", Spread(side.capacities()), work.units);
}

/// Prints the ratios of one side to another, each over the rounds.
fn print_ratios(side: &Side<'_>, other: &Side<'_>) {
    if side.kind != Kind::Service {
        return;
    }
    let ratio = |a: Vec<f64>, b: Vec<f64>| Spread(a.iter().zip(b).map(|(a, b)| a / b).collect());
    print!(
        "  {} to {}: rate {:.3}, capacity {:.3}",
        side.name,
        other.name,
        ratio(side.values(|turn| turn.rate()), other.values(|turn| turn.rate())),
        ratio(side.capacities(), other.capacities()),
    );
    if other.kind == Kind::Service {
        let service = |side: &Side<'_>| side.values(|turn| turn.each(turn.cpu.service));
        let postgres = |side: &Side<'_>| side.values(|turn| turn.each(turn.cpu.postgres));
        print!(
            ", CPU of the service {:.3}, CPU of Postgres {:.3}",
            ratio(service(side), service(other)),
            ratio(postgres(side), postgres(other)),
        );
    }
    println!();
}
