//! What an installation costs beside its work: the memory of both services, and the time that they take to start.
//!
//! ```sh
//! cargo bench -p haven-testkit --bench footprint
//! cargo bench -p haven-testkit --bench footprint -- start --against DIR
//! ```
//!
//! Both services are release builds, on a separate durable Postgres. `memory` restarts them, so that no memory of password
//! hashes counts; opens 1,000 connections to each, with TLS; and lets 32 callers call on all of them. `start` measures from
//! the start of the process until its health port reports all services as serving, with a database that has all migrations.

#[path = "../measure/mod.rs"]
#[allow(dead_code, reason = "other benchmarks use the rest")]
mod measure;
mod memory;

use std::{path::Path, time::Instant};

use anyhow::{Context, Result};
use haven_testkit::{Person, Stack, binaries::Binaries, port::Port};

use self::{
    measure::{
        build::{Builds, like},
        options::Options,
        spread::Spread,
    },
    memory::Memory,
};

/// The number of connections to each service.
const CONNECTIONS: usize = 1000;
/// The default number of concurrent callers.
const CALLERS: usize = 32;
/// The number of people who call.
const PEOPLE: u32 = 8;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse(
        "Measures the memory of the services, idle and with many connections, and the time that they take to start",
        &["memory", "start"],
    );
    let stack = Stack::builder().durable_cluster().start().await?;
    let mut people = Vec::new();
    for _ in 0..options.people(2, PEOPLE) {
        people.push(stack.person().await?);
    }
    if options.wants("start") {
        let binaries = Binaries::build()?;
        let this = binaries.data.parent().context("the folder of the programs")?;
        start_time(&options, &stack, "this build", this).await?;
        if let Some(other) = &options.against {
            start_time(&options, &stack, "other build", other).await?;
        }
    }
    if options.wants("memory") {
        memory(&options, stack, &people).await?;
    }
    Ok(())
}

/// Measures the time that further replicas of both services in `folder` take to start.
async fn start_time(options: &Options, stack: &Stack, name: &str, folder: &Path) -> Result<()> {
    for original in [&stack.identity, &stack.data] {
        let ports: Vec<Port> = (0..3).map(|_| Port::reserve()).collect::<Result<_>>()?;
        let mut replica = like(original, folder, &ports, "started")?;
        let journal = replica.log().with_extension("erasures.jsonl");
        if original.name == "identity" {
            let journal = journal.display().to_string();
            replica.variables.insert("ERASURE_JOURNAL".to_owned(), journal);
        }
        let mut times = Vec::new();
        // The first start reads the program from the disk, and is not counted.
        for round in 0..=options.rounds() {
            let begin = Instant::now();
            replica.start().await?;
            if round > 0 {
                times.push(begin.elapsed().as_secs_f64() * 1000.0);
            }
            replica.stop();
        }
        println!(
            "start of {}, {name}: {:.0} ms from the start of the process to SERVING",
            original.name,
            Spread(times)
        );
    }
    println!();
    Ok(())
}

/// Measures the memory of both services of each build.
async fn memory(options: &Options, mut stack: Stack, people: &[Person]) -> Result<()> {
    // They have hashed passwords.
    for service in [&mut stack.identity, &mut stack.data] {
        service.stop();
    }
    stack.identity.start().await?;
    stack.data.start().await?;
    let builds = Builds::start(stack, options).await?;
    let (count, callers) = (options.choose(50, CONNECTIONS), options.callers(CALLERS));
    for build in builds.all() {
        for service in [build.identity, build.data] {
            let idle = memory::settled(service).await?;
            let connections = memory::connections(build, service.name, count).await?;
            let connected = memory::settled(service).await?;
            let (busy, calls) =
                memory::under_load(service, &connections, people, callers, options.turn()).await?;
            println!("memory of {}, {}:", service.name, build.name);
            print("idle", idle);
            print(&format!("{count} connections"), connected);
            print(
                &format!("{count} connections and {callers} callers ({calls} calls)"),
                busy,
            );
            println!();
        }
    }
    Ok(())
}

fn print(what: &str, memory: Memory) {
    let Memory { rss, pss, anonymous } = memory;
    println!("  {what}: resident {rss:.1} MB, proportional {pss:.1} MB, anonymous {anonymous:.1} MB");
}
