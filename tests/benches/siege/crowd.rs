//! The honest people, and what they got done in a turn.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use futures_util::future::join_all;
use haven_testkit::{Client, Stack};
use tonic_types::StatusExt;

use crate::person::Person;

/// The number of people with connections of their own, and of those behind the backend.
const DIRECT: usize = 50;
const BEHIND_BACKEND: usize = 50;
/// The number of connections that the backend has.
const BACKEND_CONNECTIONS: usize = 4;
/// The number of people who sign up at the same time.
const TOGETHER: usize = 4;

/// The people.
pub(crate) struct Crowd {
    pub(crate) people: Vec<Person>,
}

/// The calls of a turn.
pub(crate) struct Tally {
    duration: Duration,
    answered: usize,
    late: usize,
    refused: BTreeMap<String, usize>,
}

impl Crowd {
    /// Signs the people up, and prepares what they need.
    pub(crate) async fn gather(stack: &Stack) -> Result<Self> {
        let backends = (0..BACKEND_CONNECTIONS)
            .map(|_| stack.service("backend"))
            .collect::<Result<Vec<Client>>>()?;
        let mut people = Vec::new();
        let numbers: Vec<usize> = (0..DIRECT + BEHIND_BACKEND).collect();
        for some in numbers.chunks(TOGETHER) {
            let some = some.iter().map(|number| {
                let backend = (*number >= DIRECT).then(|| backends[number % BACKEND_CONNECTIONS].clone());
                Person::arrive(stack, *number, backend)
            });
            for person in join_all(some).await {
                people.push(person?);
            }
        }
        let shares = people.iter().map(Person::share).collect::<Vec<_>>();
        for (number, person) in people.iter_mut().enumerate() {
            person.opens(shares[(number + 1) % shares.len()].clone());
        }
        Ok(Self { people })
    }

    /// Lets all people call for `duration`.
    pub(crate) async fn turn(&mut self, duration: Duration) -> Result<Tally> {
        let end = Instant::now() + duration;
        let turns = self.people.drain(..).map(|mut person| {
            tokio::spawn(async move {
                let outcomes = person.calls_until(end).await;
                (person, outcomes)
            })
        });
        let turns: Vec<_> = turns.collect();
        let mut tally = Tally {
            duration,
            answered: 0,
            late: 0,
            refused: BTreeMap::new(),
        };
        for turn in join_all(turns).await {
            let (person, outcomes) = turn.context("a person panicked")?;
            self.people.push(person);
            for outcome in outcomes {
                match outcome.result {
                    Ok(()) if outcome.took > Duration::from_secs(2) => tally.late += 1,
                    Ok(()) => {}
                    Err(status) => {
                        let reason = status.get_details_error_info().map(|info| info.reason);
                        let reason =
                            reason.unwrap_or_else(|| format!("{:?}: {}", status.code(), status.message()));
                        *tally
                            .refused
                            .entry(format!("{} {reason}", outcome.call))
                            .or_default() += 1;
                        continue;
                    }
                }
                tally.answered += 1;
            }
        }
        Ok(tally)
    }
}

impl Tally {
    /// Returns the answers per second.
    pub(crate) fn goodput(&self) -> f64 {
        self.answered as f64 / self.duration.as_secs_f64()
    }

    /// Returns the number of failed calls.
    pub(crate) fn refused(&self) -> usize {
        self.refused.values().sum()
    }

    /// Returns the number of answers that took longer than two seconds.
    pub(crate) fn late(&self) -> usize {
        self.late
    }

    /// Prints the failed calls.
    pub(crate) fn explain(&self) {
        for (call, count) in &self.refused {
            println!("    {count} × {call}");
        }
    }
}
