//! Two replicas of each service restart one after the other, while a client calls both with the shipped service config.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use haven_testkit::{Stack, binaries::Binaries, environment::Listeners, port::Port, service::Service};

use crate::{
    fixture::Fixture,
    program::{Program, Running},
};

/// The name of the case.
pub(crate) const CASE: &str = "restarts";

/// The rounds of calls that a client makes after each stop, and after each start.
const ROUNDS: usize = 20;

/// The time in which a client makes them.
const LIMIT: Duration = Duration::from_secs(60);

/// Restarts the replicas while `program` calls. Returns the outcome of the case, with the number of calls.
///
/// A client prints `round` after each round of calls, until its input ends; then a line with the number of messages that it
/// appended, and a line for each failure.
pub(crate) async fn no_call_fails(program: &Program, stack: &mut Stack, fixture: &Fixture) -> Result<String> {
    let ports = [[(); 3]; 2].map(|ports| ports.map(|()| Port::reserve()));
    let [first, second] = ports;
    let mut second_identity = replica(&stack.identity, first).await?;
    let mut second_data = replica(&stack.data, second).await?;
    let addresses = |one: &Service, other: &Service| {
        format!(
            "127.0.0.1:{},127.0.0.1:{}",
            one.listeners.api, other.listeners.api
        )
    };
    let mut environment = fixture.environment(stack);
    environment.push((
        "HAVEN_IDENTITY_REPLICAS",
        addresses(&stack.identity, &second_identity),
    ));
    environment.push(("HAVEN_DATA_REPLICAS", addresses(&stack.data, &second_data)));
    let before = fixture.newest(stack).await?;

    let mut running = program.start("restarts", &environment)?;
    rounds(&mut running)?;
    let replicas: [&mut Service; 4] = [
        &mut stack.identity,
        &mut second_identity,
        &mut stack.data,
        &mut second_data,
    ];
    for replica in replicas {
        ensure!(replica.stop(), "{} did not stop by itself", replica.name);
        rounds(&mut running)?;
        replica.start().await?;
        rounds(&mut running)?;
    }
    running.end();
    let mut appended: i64 = 0;
    let mut failures = Vec::new();
    while let Some(line) = running.line(LIMIT)? {
        match line.split_once('\t') {
            Some(("appended", count)) => appended = count.parse().context("the number of messages")?,
            Some((_, failure)) => failures.push(failure.to_owned()),
            None => {}
        }
    }
    let stored = fixture.newest(stack).await? - before;
    if let Some(failure) = failures.first() {
        return Ok(format!(
            "no: {} calls failed, the first with {failure}",
            failures.len()
        ));
    }
    ensure!(
        appended == stored && appended > 0,
        "{}: {appended} messages were acknowledged, and {stored} were stored",
        program.name
    );
    eprintln!(
        "  {} restarts: {appended} messages appended and stored, no failed call",
        program.name
    );
    Ok("yes".to_owned())
}

/// Waits until the client has made further rounds of calls.
fn rounds(running: &mut Running) -> Result<()> {
    for _ in 0..ROUNDS {
        running.line(LIMIT)?.context("the client ended early")?;
    }
    Ok(())
}

/// Starts another process like `original`.
async fn replica(original: &Service, ports: [Result<Port>; 3]) -> Result<Service> {
    let [api, health, metrics] = ports;
    // They are used at once.
    let [api, health, metrics] = [api?, health?, metrics?].map(|port| port.number());
    let mut variables = original.variables.clone();
    for (name, port) in [
        ("API_ADDR", api),
        ("HEALTH_ADDR", health),
        ("METRICS_ADDR", metrics),
    ] {
        variables.insert(name.to_owned(), format!("127.0.0.1:{port}"));
    }
    let listeners = Listeners { api, health, metrics };
    let log = original.log().with_file_name("replica.log");
    let program = Binaries::build()?.of(original.name).to_owned();
    let mut replica = Service::new(original.name, &program, listeners, variables, &log);
    replica.start().await?;
    Ok(replica)
}
