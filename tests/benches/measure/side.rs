//! A side of a comparison: one build of the services, or the baseline that it is compared with.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::BoxFuture;

use super::turn::Turn;

/// The CPU time of two cores in a second, in milliseconds: what a capacity is calculated for.
const TWO_CORES: f64 = 2000.0;

/// What a side is, which decides the CPU time that its capacity counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The services of a build: their CPU time and that of Postgres.
    Service,
    /// A program that uses Postgres directly: the CPU time of Postgres alone.
    Postgres,
    /// Bare hashes: the CPU time of this process.
    Hashes,
}

/// A function that takes a turn of the given duration.
type Run<'a> = Box<dyn FnMut(Duration) -> BoxFuture<'a, Result<Turn>> + 'a>;

/// A side, with the turns that it has taken.
pub(crate) struct Side<'a> {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    run: Run<'a>,
    /// The turns that count.
    pub(crate) turns: Vec<Turn>,
}

impl<'a> Side<'a> {
    /// Creates a side that has taken no turn. `run` takes one.
    pub(crate) fn new(
        name: &'static str,
        kind: Kind,
        run: impl FnMut(Duration) -> BoxFuture<'a, Result<Turn>> + 'a,
    ) -> Self {
        Self {
            name,
            kind,
            run: Box::new(run),
            turns: Vec::new(),
        }
    }

    /// Takes a turn that does not count: it opens connections, prepares statements and fills caches.
    pub(crate) async fn warm_up(&mut self, turn: Duration) -> Result<()> {
        (self.run)(turn).await?;
        Ok(())
    }

    /// Takes a turn, and returns it.
    pub(crate) async fn take(&mut self, turn: Duration) -> Result<&Turn> {
        let turn = (self.run)(turn).await?;
        self.turns.push(turn);
        Ok(&self.turns[self.turns.len() - 1])
    }

    /// Returns a value of each turn.
    pub(crate) fn values(&self, value: impl FnMut(&Turn) -> f64) -> Vec<f64> {
        self.turns.iter().map(value).collect()
    }

    /// Returns the work per second that two cores could do in each turn, if they did nothing but that of this side without
    /// its clients.
    pub(crate) fn capacities(&self) -> Vec<f64> {
        self.values(|turn| {
            let seconds = match self.kind {
                Kind::Service => turn.cpu.service + turn.cpu.postgres,
                Kind::Postgres => turn.cpu.postgres,
                Kind::Hashes => turn.cpu.clients,
            };
            TWO_CORES / turn.each(seconds)
        })
    }
}
