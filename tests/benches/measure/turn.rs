//! A turn: concurrent callers for some seconds, and the CPU time that their calls cost.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::cpu::{Cpu, Meter};

/// A caller, who makes one call at a time.
pub(crate) trait Caller: Send + 'static {
    /// Makes a call, and returns how much work it did, in units such as requests or jobs. The caller has no more work after
    /// 0.
    fn call(&mut self) -> impl Future<Output = Result<u64>> + Send;
}

/// The result of a turn.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The work that was done, in units.
    pub(crate) work: u64,
    /// The duration of the turn in seconds.
    pub(crate) seconds: f64,
    /// The CPU time of the whole turn.
    pub(crate) cpu: Cpu,
    /// The duration of each call, in ascending order. Empty for a program that does not tell.
    pub(crate) durations: Vec<Duration>,
}

/// Lets all `callers` make calls for the duration `turn`, or until they have no more work.
pub(crate) async fn take<C: Caller>(meter: &Meter, turn: Duration, callers: Vec<C>) -> Result<Turn> {
    let (before, begin) = (meter.read()?, Instant::now());
    let callers: Vec<_> = callers
        .into_iter()
        .map(|mut caller| {
            tokio::spawn(async move {
                let (mut work, mut durations) = (0, Vec::new());
                while begin.elapsed() < turn {
                    let start = Instant::now();
                    match caller.call().await? {
                        0 => break,
                        done => work += done,
                    }
                    durations.push(start.elapsed());
                }
                anyhow::Ok((work, durations))
            })
        })
        .collect();
    let (mut work, mut durations) = (0, Vec::new());
    for caller in callers {
        let (done, times) = caller.await??;
        work += done;
        durations.extend(times);
    }
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = meter.read()? - before;
    ensure!(work > 0, "no call succeeded");
    durations.sort();
    Ok(Turn {
        work,
        seconds,
        cpu,
        durations,
    })
}

impl Turn {
    /// Returns the work per second.
    pub(crate) fn rate(&self) -> f64 {
        self.work as f64 / self.seconds
    }

    /// Returns `seconds` of the turn per unit of work, in milliseconds.
    pub(crate) fn each(&self, seconds: f64) -> f64 {
        seconds * 1000.0 / self.work as f64
    }

    /// Returns the given percentile of the durations of calls, in milliseconds, if they are known.
    pub(crate) fn percentile(&self, percent: usize) -> Option<f64> {
        let index = (self.durations.len() * percent / 100).min(self.durations.len().checked_sub(1)?);
        Some(self.durations[index].as_secs_f64() * 1000.0)
    }
}
