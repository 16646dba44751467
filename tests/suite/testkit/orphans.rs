//! Child processes end with the process that started them, also when it is killed.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use haven_testkit::{Stack, process::runs};

/// Parent process of the test below, not a test: starts a stack, prints the process ids, and sleeps until it is killed.
#[tokio::test]
#[ignore = "run by the tests in this file"]
async fn parent() -> Result<()> {
    let mut stack = Stack::builder().own_cluster().start().await?;
    stack.data.pause();
    let cluster = stack.cluster().and_then(|cluster| cluster.pid());
    for pid in [cluster, stack.identity.pid(), stack.data.pid()] {
        println!("child {}", pid.context("not started")?);
    }
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

#[test]
fn postgres_and_the_services_die_with_a_parent_that_is_killed() -> Result<()> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["--exact", "testkit::orphans::parent", "--ignored", "--nocapture"]);
    let mut parent = command.stdout(Stdio::piped()).spawn()?;
    let lines = BufReader::new(parent.stdout.take().context("no output")?).lines();
    let children = lines.filter_map(|line| line.ok()?.split_once("child ")?.1.parse().ok());
    let children: Vec<u32> = children.take(3).collect();
    assert!(
        children.len() == 3 && children.iter().all(|&child| runs(child)),
        "{children:?}"
    );

    parent.kill()?;
    parent.wait()?;
    let limit = Instant::now() + Duration::from_secs(10);
    while let Some(child) = children.iter().find(|&&child| runs(child)) {
        assert!(
            Instant::now() < limit,
            "{child} of {children:?} survived its parent"
        );
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
