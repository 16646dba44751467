//! The leader is lost while people call both services.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use haven_testkit::failover::{Failover, Fault};

use crate::workload::Workload;

/// The time in which a call must succeed again.
const LIMIT: Duration = Duration::from_secs(55);

/// The number of calls that must succeed before a fault.
const CALLS: usize = 40;

/// What one fault cost.
struct Round {
    fault: Fault,
    /// From the last success before the fault to the first one after it.
    pause: Duration,
    /// From the fault until three nodes were there again. The node comes back after the first success.
    complete: Duration,
}

/// The times of all rounds.
#[derive(Default)]
pub(super) struct Rounds(Vec<Round>);

impl Rounds {
    /// Causes `fault` in the leader under the load of `workload`, waits until calls succeed, and brings the node back.
    pub(super) async fn add(&mut self, rig: &Failover, workload: &Workload, fault: Fault) {
        let leader = rig.complete().await.unwrap();
        workload.acknowledges(CALLS, LIMIT).await;
        let asked = SystemTime::now();
        rig.cause(fault, leader).await.unwrap();
        let caused = SystemTime::now();
        let first = workload.succeeds_after(caused, LIMIT).await;
        let pause = workload.journal.longest_gap(asked, caused + first);
        rig.mend(fault, leader).await.unwrap();
        let next = rig.complete().await.unwrap();
        assert_ne!(next, leader, "{fault:?}: the node leads again");
        let round = Round {
            fault,
            pause,
            complete: asked.elapsed().unwrap(),
        };
        eprintln!(
            "round {}: {fault:?} of node {leader}: calls paused for {:.1?}, complete after {:.1?}",
            self.0.len() + 1,
            round.pause,
            round.complete
        );
        self.0.push(round);
    }
}

/// A table with the median and the worst of each fault, in seconds.
impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| fault | rounds | pause: median | worst | complete: median | worst |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- |")?;
        for fault in [Fault::Switchover, Fault::Kill, Fault::Freeze, Fault::Cut] {
            let of_fault = || self.0.iter().filter(|round| round.fault == fault);
            if of_fault().count() == 0 {
                continue;
            }
            let (pause, longest) = median_and_worst(of_fault().map(|round| round.pause));
            let (complete, last) = median_and_worst(of_fault().map(|round| round.complete));
            let rounds = of_fault().count();
            writeln!(
                f,
                "| {fault:?} | {rounds} | {pause:.1} s | {longest:.1} s | {complete:.0} s | {last:.0} s |"
            )?;
        }
        Ok(())
    }
}

/// Returns the median and the maximum in seconds. Of an even number of times, the median is the upper one in the middle.
fn median_and_worst(times: impl Iterator<Item = Duration>) -> (f64, f64) {
    let mut seconds: Vec<f64> = times.map(|time| time.as_secs_f64()).collect();
    seconds.sort_by(f64::total_cmp);
    (seconds[seconds.len() / 2], seconds[seconds.len() - 1])
}
