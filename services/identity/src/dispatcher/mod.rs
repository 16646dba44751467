//! Tells data what the outbox says it must be told: at least once, however often either side goes down.
//!
//! A sign-up, or a deletion, sends its own message as soon as it is committed, so that its person can go on at once. What
//! that did not deliver, the loop does.

mod data_client;
mod delivered_queue;

use std::time::Duration;

use futures_util::future::join_all;
use haven_platform::{
    database::DbError,
    deadline::Deadline,
    entropy::Entropy,
    reason::{self, Reason},
    time::Clock,
};
use haven_proto::data::v1::person_service_client::PersonServiceClient;
use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::Channel;
use tracing::Instrument;

use self::{
    data_client::{Answer, DataClient},
    delivered_queue::DeliveredQueue,
};
use crate::{
    domain::{
        erasure::Receipt,
        outbox::{Message, MessageKind, means_down, retry_delay},
    },
    store::outbox::Outbox,
};

/// How often the outbox is looked into: how long a message that is due waits at most.
const TICK: Duration = Duration::from_secs(1);

/// How many messages are under way at once.
const BATCH: i64 = 16;

/// What a call keeps for its answer when it waits for its message.
const RESERVE: Duration = Duration::from_millis(100);

/// Delivers messages. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    outbox: Outbox,
    delivered: Delivered,
    data: Data,
    clock: Clock,
    entropy: Entropy,
    tasks: TaskTracker,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// Nothing was due.
    Empty,
    /// All that was due was tried.
    Done,
    /// There may be more that is due.
    More,
    /// Data answered none of it: the rest can wait for the next tick.
    DataDown,
}

/// What keeps messages from being delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outage {
    Data,
    Outbox,
}

// === impl Round ===

impl Round {
    fn of(outcomes: &[Result<(), Reason>]) -> Self {
        if outcomes.is_empty() {
            Self::Empty
        } else if outcomes.iter().all(|outcome| outcome.is_err_and(means_down)) {
            Self::DataDown
        } else if outcomes.len() as i64 == BATCH {
            Self::More
        } else {
            Self::Done
        }
    }
}

// === impl Dispatcher ===

impl Dispatcher {
    /// Delivers what is in `outbox` to `data`, in `tasks`, until `stop` says so. Deliveries that nobody waits for any more
    /// end there, too.
    #[must_use]
    pub fn start(
        outbox: Outbox,
        data: PersonServiceClient<Channel>,
        clock: Clock,
        entropy: Entropy,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let dispatcher = Self {
            delivered: Delivered::start(outbox.clone(), &tasks, stop.clone()),
            outbox,
            data: Data::new(data, clock.clone()),
            clock,
            entropy,
            tasks,
        };
        dispatcher.tasks.spawn(dispatcher.clone().run(stop));
        dispatcher
    }

    /// Begins to deliver a message that was just written, and waits until data has it, but for no longer than the caller
    /// can. Answers the receipt, when there is one, it came in time and is kept.
    pub async fn deliver_now(&self, message: Message, deadline: Deadline) -> Option<Receipt> {
        let (dispatcher, (done, is_done)) = (self.clone(), oneshot::channel());
        let delivery = async move {
            let outcome = dispatcher.data.tell(&message).await;
            // The caller may be gone, which is nothing to the message.
            match message.kind {
                MessageKind::ProvisionUser => {
                    // It can go on as soon as data knows the person.
                    let _ = done.send(None);
                    dispatcher.settle(&message, outcome).await;
                }
                MessageKind::EraseUser => {
                    let _ = done.send(dispatcher.settle(&message, outcome).await);
                }
            }
        };
        self.tasks.spawn(delivery.in_current_span());
        let wait = deadline
            .remaining()
            .saturating_sub(RESERVE)
            .min(message.timeout());
        timeout(wait, is_done).await.ok()?.ok()?
    }

    /// Delivers what is due, until `stop` says so.
    async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut outage = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let mut round = self.deliver_due().await;
            while matches!(round, Ok(Round::More)) && !stop.is_cancelled() {
                round = self.deliver_due().await;
            }
            report(&mut outage, &round);
        }
    }

    /// Delivers one batch.
    async fn deliver_due(&self) -> Result<Round, DbError> {
        let now = self.clock.now();
        let due = self.outbox.claim(now, BATCH).await?;
        let age = due
            .oldest
            .map_or(0.0, |oldest| (now - oldest).as_seconds_f64().max(0.0));
        metrics::gauge!("haven_outbox_pending_oldest_seconds").set(age);
        let outcomes = join_all(due.messages.iter().map(|message| async move {
            let answer = self.data.tell(message).await;
            let outcome = answer.as_ref().map(|_| ()).map_err(|reason| *reason);
            self.settle(message, answer).await;
            outcome
        }));
        Ok(Round::of(&outcomes.await))
    }

    /// Writes down what became of an attempt. Answers the receipt, once it is kept.
    async fn settle(&self, message: &Message, outcome: Result<Answer, Reason>) -> Option<Receipt> {
        let name = outcome
            .as_ref()
            .map_or_else(|reason| reason::name(*reason), |_| "OK");
        metrics::counter!("haven_outbox_deliveries_total", "outcome" => name).increment(1);
        let mut receipt = None;
        let settled = match outcome {
            Ok(Answer::Settled) => {
                self.delivered.drop(*message).await;
                Ok(())
            }
            Ok(Answer::Erased(erased)) => {
                let kept = self.outbox.erased(message, &erased).await;
                receipt = kept.is_ok().then_some(erased);
                kept
            }
            Err(reason) => {
                if !means_down(reason) {
                    tracing::warn!(user_id = %message.user_id, message = %message.id, reason = name, "data refused a message");
                }
                let mut jitter = [0];
                self.entropy.fill(&mut jitter);
                let next = self.clock.now() + retry_delay(message.attempts, reason, jitter[0]);
                self.outbox.failed(message, reason, next).await
            }
        };
        if let Err(error) = settled {
            tracing::warn!(%error, "the outbox cannot be written: a message will be delivered again");
        }
        receipt
    }
}

/// Says an outage once when it begins, and once when it ends.
fn report(outage: &mut Option<Outage>, round: &Result<Round, DbError>) {
    match round {
        Err(error) => {
            if outage.replace(Outage::Outbox) != Some(Outage::Outbox) {
                tracing::warn!(%error, "the outbox cannot be read");
            }
        }
        Ok(Round::DataDown) => {
            if outage.replace(Outage::Data) != Some(Outage::Data) {
                tracing::warn!("data does not answer: who came or went waits to be known there");
            }
        }
        // Nothing was due, which says nothing about data.
        Ok(Round::Empty) if *outage == Some(Outage::Data) => {}
        Ok(Round::Empty | Round::Done | Round::More) => {
            if outage.take().is_some() {
                tracing::info!("messages to data are delivered again");
            }
        }
    }
}

/// Says what the metrics of this file mean, for whoever scrapes them.
pub fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_gauge!(
        "haven_outbox_pending_oldest_seconds",
        Unit::Seconds,
        "How long the oldest message to the data service has been waiting; 0 when there is none"
    );
    metrics::describe_counter!(
        "haven_outbox_deliveries_total",
        Unit::Count,
        "Attempts to deliver a message to the data service, by outcome"
    );
    metrics::gauge!("haven_outbox_pending_oldest_seconds").set(0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_fails_holds_up_no_other() {
        let (poison, down) = (Err(Reason::Internal), Err(Reason::DependencyUnavailable));
        assert_eq!(Round::of(&[]), Round::Empty);
        assert_eq!(Round::of(&[Ok(()), poison]), Round::Done);
        assert_eq!(Round::of(&[poison; BATCH as usize]), Round::More);
        assert_eq!(Round::of(&[down; BATCH as usize]), Round::DataDown);
        let mut one_answered = [down; BATCH as usize];
        one_answered[3] = Ok(());
        assert_eq!(Round::of(&one_answered), Round::More);
    }

    #[test]
    fn an_outage_lasts_until_something_is_delivered() {
        let mut outage = None;
        let mut after = |round| {
            report(&mut outage, &round);
            outage
        };
        assert_eq!(after(Ok(Round::DataDown)), Some(Outage::Data));
        assert_eq!(after(Ok(Round::Empty)), Some(Outage::Data));
        assert_eq!(after(Ok(Round::Done)), None);
        assert_eq!(after(Err(DbError::unexpected("x"))), Some(Outage::Outbox));
        assert_eq!(after(Ok(Round::Empty)), None);
    }
}
