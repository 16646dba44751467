//! The siege: what honest people still get done while one caller attacks.
//!
//! ```sh
//! cargo bench -p haven-testkit --bench siege
//! HAVEN_ATTACK=resets cargo bench -p haven-testkit --bench siege
//! ```
//!
//! A hundred people call both services at a steady pace: half of them over a connection and an address of their own, half
//! through a backend that states their addresses. Each attack runs in turns, between turns without it. The ratio compares
//! the answers per second of the people in a turn with the mean of its two neighbours. A refusal is a failed call of theirs,
//! by its reason. The attacker has addresses, connections and a thread of its own, and shares the two cores with everything
//! else. The memory is the largest resident set of each service up to that turn.

mod attack;
mod connection;
mod crowd;
mod person;
#[path = "../../suite/raw_socket.rs"]
#[allow(dead_code, reason = "the suite uses the rest")]
mod raw_socket;

use std::{env, fs, sync::Arc, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use haven_testkit::{Stack, service::Service};
use tokio_util::sync::CancellationToken;

use self::{
    attack::{Attack, Target},
    crowd::{Crowd, Tally},
};

/// The number of turns of each attack.
const ROUNDS: usize = 2;
/// The duration of a turn.
const TURN: Duration = Duration::from_secs(10);
/// The time for an attack to reach its full strength, and for its traces to go.
const PAUSE: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<()> {
    let only = env::var("HAVEN_ATTACK").ok();
    let attacks: Vec<_> = Attack::ALL
        .into_iter()
        .filter(|attack| only.as_deref().is_none_or(|only| only == attack.name()))
        .collect();
    ensure!(
        !attacks.is_empty(),
        "HAVEN_ATTACK must be one of {:?}",
        Attack::ALL.map(Attack::name)
    );
    let stack = Stack::builder()
        .durable_cluster()
        .default_limits()
        .start()
        .await?;
    let mut crowd = Crowd::gather(&stack).await.context("the people")?;
    let target = Arc::new(Target::new(&stack, &crowd).await.context("the attacker")?);
    crowd.turn(PAUSE).await?;
    println!("attack          goodput  ratio  refusals  late  identity MiB  data MiB");
    for attack in attacks {
        let mut before = crowd.turn(TURN).await?;
        for _ in 0..ROUNDS {
            let stop = CancellationToken::new();
            let attacker = begin(attack, Arc::clone(&target), stop.clone());
            tokio::time::sleep(PAUSE).await;
            let during = crowd.turn(TURN).await?;
            stop.cancel();
            let made = attacker
                .join()
                .map_err(|_| anyhow::anyhow!("the attacker panicked"))?;
            let made = made.with_context(|| attack.name())?;
            tokio::time::sleep(PAUSE).await;
            let after = crowd.turn(TURN).await?;
            report(attack, made, [&before, &during, &after], &stack)?;
            before = after;
        }
    }
    Ok(())
}

/// Runs the attack on a thread of its own until `stop` is cancelled. Returns how many times it did what it does.
fn begin(attack: Attack, target: Arc<Target>, stop: CancellationToken) -> thread::JoinHandle<Result<u64>> {
    thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build()?.block_on(attack.run(target, stop))
    })
}

fn report(attack: Attack, made: u64, turns: [&Tally; 3], stack: &Stack) -> Result<()> {
    let [before, during, after] = turns.map(Tally::goodput);
    println!(
        "{:14} {during:6.1}/s  {:.3}  {:8}  {:4}  {:12.1}  {:8.1}  (attacker: {made})",
        attack.name(),
        2.0 * during / (before + after),
        turns[1].refused(),
        turns[1].late(),
        peak_memory(&stack.identity)?,
        peak_memory(&stack.data)?,
    );
    for turn in turns {
        turn.explain();
    }
    Ok(())
}

/// Returns the largest resident set of the service so far, in MiB.
fn peak_memory(service: &Service) -> Result<f64> {
    let pid = service.pid().context("the service has ended")?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    let kib: f64 = kib.context("no VmHWM")?.parse()?;
    Ok(kib / 1024.0)
}
