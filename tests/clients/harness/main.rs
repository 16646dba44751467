//! Runs the programs of `tests/clients` against both services, and compares or writes the table of what works.
//!
//! `tests/clients/run` builds the programs, and starts this one with the list of them.

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use haven_testkit::{Stack, workspace};

mod fixture;
mod program;
mod report;
mod restarts;

use fixture::Fixture;
use program::Program;
use report::{Report, Row};

const USAGE: &str = "usage: clients --write|--check|--show PROGRAMS [NAME…]
  PROGRAMS has a line for each client: its name, whether it reads the service config (yes or no), and its command";

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let mode = arguments.next().context(USAGE)?;
    ensure!(["--write", "--check", "--show"].contains(&mode.as_str()), USAGE);
    let list = PathBuf::from(arguments.next().context(USAGE)?);
    let names: Vec<String> = arguments.collect();
    let list = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    let programs: Vec<Program> = list.lines().map(Program::parse).collect::<Result<_>>()?;
    ensure!(
        mode == "--show" || names.is_empty(),
        "the page has all clients: --write and --check take no names"
    );
    for name in &names {
        ensure!(
            programs.iter().any(|program| program.name == *name),
            "there is no client {name}"
        );
    }

    // An address may be used for one sign-in, which the fixture makes. That of a client is refused, with a delay.
    let mut stack = Stack::builder()
        .variable("identity", "SIGN_IN_LIMITS", "network=off,email=1/1h,service=off")
        .start()
        .await?;
    let mut fixture = Fixture::new(&stack).await?;
    let mut report = Report::default();
    for program in &programs {
        if !names.is_empty() && !names.contains(&program.name) {
            continue;
        }
        eprintln!("{}", program.name);
        fixture.refresh(&stack).await?;
        let mut row: Row = program.cases(&fixture.environment(&stack))?;
        if program.reads_service_config {
            fixture.refresh(&stack).await?;
            let outcome = restarts::no_call_fails(program, &mut stack, &fixture).await?;
            row.outcomes.insert(restarts::CASE.to_owned(), outcome);
        }
        row.print(&program.name);
        report.rows.push((program.name.clone(), row));
    }
    let page = workspace::root().join("tests/clients/README.md");
    match mode.as_str() {
        "--write" => report.write(&page),
        "--check" => report.check(&page),
        _ => Ok(()),
    }
}
