//! Faults under load. The suite runs one round of each drill; `HAVEN_ROUNDS` and `HAVEN_CALLERS` set more.

mod failover;
mod kill;
mod restore;
mod rolling_restart;
mod two_restores;

use std::{
    env,
    time::{Duration, SystemTime},
};

use haven_testkit::Stack;

use crate::workload::{Size, Workload};

/// The variable with the number of rounds.
const ROUNDS: &str = "HAVEN_ROUNDS";

/// The variable with the number of people who call at the same time.
const CALLERS: &str = "HAVEN_CALLERS";

/// The number of people without the variable.
const FEW: usize = 16;

/// The time from a fault to the first success, at most, on a machine that is busy with other tests.
const RECOVERY: Duration = Duration::from_secs(120);

/// The numbers of acknowledged calls between two faults.
const BETWEEN: std::ops::Range<usize> = 40..120;

/// Returns the number in a variable.
fn number(variable: &str) -> Option<usize> {
    env::var(variable).ok().map(|number| number.parse().unwrap())
}

/// Returns the number of rounds.
fn rounds() -> usize {
    number(ROUNDS).unwrap_or(1)
}

/// Returns the number of callers.
fn callers() -> Size {
    Size {
        people: number(CALLERS).unwrap_or(FEW),
        workers: 3,
    }
}

/// Makes a fault under load in each round, and asserts that nothing was lost or applied twice. `fault` also mends it.
/// Returns the report, and prints it with the times from each fault to the first success.
async fn drill(
    name: &str,
    stack: &mut Stack,
    mut fault: impl AsyncFnMut(&mut Stack),
) -> crate::workload::report::Report {
    let workload = Workload::start(&stack.endpoints(), &stack.database, callers());
    let mut times = Vec::new();
    for _ in 0..rounds() {
        // The moments differ, so that a fault hits calls at every point.
        let calls = rand::random_range(BETWEEN);
        workload.acknowledges(calls, RECOVERY).await;
        let begun = SystemTime::now();
        fault(stack).await;
        times.push(workload.succeeds_after(begun, RECOVERY).await);
    }
    workload.acknowledges(BETWEEN.start, RECOVERY).await;
    let journal = workload.stop().await;
    let report = journal.verify(&stack.endpoints(), &stack.database, None).await;
    times.sort_unstable();
    eprintln!(
        "{name}, {} times: {report}  first success after {:.1?} (median), {:.1?} (worst)",
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1],
    );
    report.assert_sound();
    report
}
