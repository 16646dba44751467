//! Delivers the messages of the outbox to data, at least once each, even when either service restarts.
//!
//! SignUp and DeleteAccount deliver their own message right after the commit, so that the person can continue
//! immediately. A background task delivers the messages for which that failed.

pub(crate) mod data_client;
mod delivered_queue;

use std::time::Duration;

use futures_util::future::join_all;
use haven_platform::{
    database::DbError,
    deadline::Deadline,
    entropy::Entropy,
    periodic::limited,
    reason::{self, Reason},
    task_rounds::TaskRounds,
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
        outbox::{ATTEMPT_TIMEOUT, Message, MessageKind, means_down, retry_delay},
    },
    erasure_journal::{ErasureJournal, Record},
    store::outbox::Outbox,
};

/// The interval at which the outbox is read, and so the maximum delay of a message that is due.
const TICK: Duration = Duration::from_secs(1);

/// The maximum time of a round: longer than the delivery of a message and the statements around it may take.
const ROUND_LIMIT: Duration = Duration::from_secs(90);

/// The maximum number of messages that are delivered concurrently.
const BATCH_SIZE: i64 = 16;

/// The part of a call's remaining time that is reserved for its answer while it waits for its message.
const RESERVE: Duration = Duration::from_millis(100);

/// Delivers messages to data. Clones share the connection and the queue.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    outbox: Outbox,
    delivered: DeliveredQueue,
    data: DataClient,
    journal: Option<ErasureJournal>,
    clock: Clock,
    entropy: Entropy,
    tasks: TaskTracker,
}

/// The outcome of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// No message was due.
    Empty,
    /// All due messages were attempted.
    Done,
    /// More messages may be due.
    More,
    /// Data answered none of the messages: the others wait for the next tick.
    DataDown,
}

/// The service that is unavailable, so that no messages are delivered.
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
        } else if outcomes.len() as i64 == BATCH_SIZE {
            Self::More
        } else {
            Self::Done
        }
    }
}

// === impl Dispatcher ===

impl Dispatcher {
    /// A dispatcher of the messages of `outbox` to `data`, which writes completed erasures into `journal`. Deliveries and the
    /// deletion of delivered messages are tasks of `tasks`, which end when `stop` is cancelled. A delivery continues when its
    /// caller disconnects.
    #[must_use]
    pub fn new(
        outbox: Outbox,
        data: PersonServiceClient<Channel>,
        journal: Option<ErasureJournal>,
        (clock, entropy): (Clock, Entropy),
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            delivered: DeliveredQueue::start(outbox.clone(), &tasks, stop),
            outbox,
            data: DataClient::new(data, clock.clone()),
            journal,
            clock,
            entropy,
            tasks,
        }
    }

    /// Starts a task that delivers due messages until `stop` is cancelled.
    pub fn start(&self, stop: CancellationToken) {
        self.tasks.spawn(self.clone().run(stop));
    }

    /// Delivers due messages until none is due. Returns `false` when data does not answer.
    ///
    /// # Errors
    ///
    /// When the outbox cannot be read.
    pub async fn deliver_all(&self) -> Result<bool, DbError> {
        loop {
            match self.deliver_due().await? {
                Round::Empty => return Ok(true),
                Round::DataDown => return Ok(false),
                Round::Done | Round::More => {}
            }
        }
    }

    /// Delivers a message that was just written, and waits until data has confirmed it, at most for the message's timeout
    /// and the call's remaining time. The delivery continues after that.
    ///
    /// Returns the receipt of an erasure, if data confirmed in time and the receipt was stored.
    pub async fn deliver_now(&self, message: Message, deadline: Deadline) -> Option<Receipt> {
        let (dispatcher, (done, is_done)) = (self.clone(), oneshot::channel());
        let delivery = async move {
            let outcome = dispatcher.data.deliver(&message).await;
            // Sending to `done` fails when the caller has disconnected, which does not matter to the message.
            match message.kind {
                MessageKind::ProvisionUser => {
                    // The caller continues as soon as data knows the person.
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

    /// Delivers due messages until `stop` is cancelled.
    async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let rounds = TaskRounds::of("outbox");
        let mut outage = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let mut round = limited(ROUND_LIMIT, self.deliver_due()).await;
            while matches!(round, Ok(Round::More)) && !stop.is_cancelled() {
                round = limited(ROUND_LIMIT, self.deliver_due()).await;
            }
            // Whether data answers is measured by the age of the messages.
            rounds.count(round.is_ok());
            report(&mut outage, &round);
        }
    }

    /// Delivers one batch of due messages.
    async fn deliver_due(&self) -> Result<Round, DbError> {
        let now = self.clock.now();
        let due = self.outbox.claim(BATCH_SIZE).await?;
        let age = due
            .oldest
            .map_or(0.0, |oldest| (now - oldest).as_seconds_f64().max(0.0));
        metrics::gauge!("haven_outbox_pending_oldest_seconds").set(age);
        let outcomes = join_all(due.messages.iter().map(|message| async move {
            let answer = self.data.deliver(message).await;
            let outcome = answer.as_ref().map(|_| ()).map_err(|reason| *reason);
            self.settle(message, answer).await;
            outcome
        }));
        Ok(Round::of(&outcomes.await))
    }

    /// Stores the outcome of an attempt. Returns the receipt if it was stored.
    async fn settle(&self, message: &Message, outcome: Result<Answer, Reason>) -> Option<Receipt> {
        let name = outcome
            .as_ref()
            .map_or_else(|reason| reason::name(*reason), |_| "OK");
        metrics::counter!("haven_outbox_deliveries_total", "outcome" => name).increment(1);
        let mut receipt = None;
        let settled = match outcome {
            Ok(Answer::Settled) => {
                self.delivered.delete(*message).await;
                Ok(())
            }
            // Where the erasure is not recorded as completed, the message is delivered again, and data answers with the same
            // receipt.
            Ok(Answer::Erased(erased)) => match self.erase_rows(message).await {
                Ok(false) => self.continue_soon(message).await,
                Ok(true) if self.write_down(message, &erased).await => {
                    let stored = self.outbox.erased(message, &erased).await;
                    receipt = stored.is_ok().then_some(erased);
                    stored
                }
                Ok(true) | Err(_) => self.postpone(message, Reason::DependencyUnavailable).await,
            },
            Err(reason) => {
                if !means_down(reason) {
                    tracing::warn!(user_id = %message.user_id, message = %message.id, reason = name, "data refused a message");
                }
                self.postpone(message, reason).await
            }
        };
        if let Err(error) = settled {
            tracing::warn!(%error, "cannot write to the outbox: a message will be delivered again");
        }
        receipt
    }

    /// Deletes what is left here of the message's person. Returns whether nothing is left.
    async fn erase_rows(&self, message: &Message) -> Result<bool, DbError> {
        // Short enough for the lease, of which data has used a part.
        let deadline = Deadline::after(ATTEMPT_TIMEOUT);
        let erased = self.outbox.erase_rows(message, deadline).await;
        if let Err(error) = &erased {
            tracing::warn!(%error, message = %message.id, "an erasure will be continued");
        }
        erased
    }

    /// Makes a message due again at once: its erasure goes on.
    async fn continue_soon(&self, message: &Message) -> Result<(), DbError> {
        self.outbox
            .failed(message, Reason::Deadline, Duration::ZERO)
            .await
    }

    /// Appends the erasure of the message's person to the journal, if there is one. Returns whether it is on the disk.
    async fn write_down(&self, message: &Message, erased: &Receipt) -> bool {
        let Some(journal) = &self.journal else { return true };
        let record = Record {
            user_id: message.user_id,
            completed_at: erased.confirmed_at,
        };
        let appended = journal.append(record).await;
        if let Err(error) = &appended {
            tracing::error!(%error, message = %message.id, "an erasure is not completed until the journal has it");
        }
        appended.is_ok()
    }

    /// Stores that an attempt failed for `reason`, and when the next one is due.
    async fn postpone(&self, message: &Message, reason: Reason) -> Result<(), DbError> {
        let mut jitter = [0];
        self.entropy.fill(&mut jitter);
        let delay = retry_delay(message.attempts, reason, jitter[0]);
        self.outbox.failed(message, reason, delay).await
    }
}

/// Logs an outage once when it begins, and once when it ends.
fn report(outage: &mut Option<Outage>, round: &Result<Round, DbError>) {
    match round {
        Err(error) => {
            if outage.replace(Outage::Outbox) != Some(Outage::Outbox) {
                tracing::warn!(%error, "cannot read the outbox");
            }
        }
        Ok(Round::DataDown) => {
            if outage.replace(Outage::Data) != Some(Outage::Data) {
                tracing::warn!(
                    "data does not answer: messages about new and erased accounts wait in the outbox"
                );
            }
        }
        // No message was due, so it is unknown whether data answers again.
        Ok(Round::Empty) if *outage == Some(Outage::Data) => {}
        Ok(Round::Empty | Round::Done | Round::More) => {
            if outage.take().is_some() {
                tracing::info!("delivering messages to data again");
            }
        }
    }
}

/// Describes the metrics of this file for scrapers.
pub fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_gauge!(
        "haven_outbox_pending_oldest_seconds",
        Unit::Seconds,
        "Age of the oldest undelivered message to the data service; 0 when there is none"
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
    fn a_failing_message_does_not_delay_others() {
        let (poison, down) = (Err(Reason::Internal), Err(Reason::DependencyUnavailable));
        assert_eq!(Round::of(&[]), Round::Empty);
        assert_eq!(Round::of(&[Ok(()), poison]), Round::Done);
        assert_eq!(Round::of(&[poison; BATCH_SIZE as usize]), Round::More);
        assert_eq!(Round::of(&[down; BATCH_SIZE as usize]), Round::DataDown);
        let mut one_answered = [down; BATCH_SIZE as usize];
        one_answered[3] = Ok(());
        assert_eq!(Round::of(&one_answered), Round::More);
    }

    #[test]
    fn an_outage_lasts_until_a_message_is_delivered() {
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
