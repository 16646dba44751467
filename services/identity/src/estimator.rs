//! The queue for estimates of how guessable a password is.
//!
//! An estimate takes a core for milliseconds and no memory to speak of, so it has a queue apart from that of hashes: people who type
//! a new password do not delay sign-ins. It runs on at most half of the cores.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::Either;
use haven_platform::{
    call::{Call, UserId},
    deadline::Deadline,
    failure::Failure,
    network::Network,
    permits::Permits,
    reason::Reason,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout_at,
};

/// The maximum number of calls of strangers that wait or run, and of those of one network. Further calls are refused at once.
const STRANGERS: usize = 48;
const STRANGERS_PER_NETWORK: usize = 16;

/// The same for people who are signed in and change their password.
const PEOPLE: usize = 16;
const PER_PERSON: usize = 2;

/// The maximum time of an estimate on a core of its own, with a margin for slow machines: the input is cut
/// to a length that cannot take longer.
const LONGEST: Duration = Duration::from_millis(50);

/// The retry delay for a caller that has its share: longer than its estimates take.
const RETRY: Duration = Duration::from_millis(250);

/// The queue. Clones share it.
#[derive(Clone, Debug)]
pub struct EstimatorQueue(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    turns: Arc<Semaphore>,
    strangers: Permits<Network>,
    people: Permits<UserId>,
}

/// The caller that an estimate is for.
#[derive(Clone, Copy, Debug)]
pub enum EstimateFor {
    /// A caller without credentials, from this network if it is known.
    Stranger(Option<Network>),
    /// A person who is signed in.
    Person(UserId),
}

/// A waiting call. Dropping it removes the call from the queue, also when the call is cancelled.
struct Waiting;

/// An estimate in progress. Dropping it lets the next call run, also when the estimate panics.
struct Running {
    began: Instant,
    _permit: OwnedSemaphorePermit,
}

// === impl EstimateFor ===

impl From<&Call> for EstimateFor {
    fn from(call: &Call) -> Self {
        match call.caller.user {
            Some(user) => Self::Person(user.id),
            // The network of a service is that of all its people.
            None => Self::Stranger(call.network.filter(|_| !call.network_source.is_shared())),
        }
    }
}

// === impl EstimatorQueue ===

impl EstimatorQueue {
    /// Creates a queue for a machine with this number of cores.
    #[must_use]
    pub fn new(cores: NonZeroUsize) -> Self {
        Self(Arc::new(Queue {
            turns: Arc::new(Semaphore::new(cores.get().div_ceil(2))),
            strangers: Permits::new(STRANGERS, STRANGERS_PER_NETWORK, "network"),
            people: Permits::new(PEOPLE, PER_PERSON, "user"),
        }))
    }

    /// Runs `estimate` on a thread for blocking work, when it is the call's turn. A call that is cancelled keeps its place until
    /// its estimate has ended.
    ///
    /// # Errors
    ///
    /// OVERLOADED when the queue is full, or has no turn before `deadline`; TOO_MANY_CALLS when the caller has its share of it.
    pub async fn run<T: Send + 'static>(
        &self,
        caller: EstimateFor,
        deadline: Deadline,
        estimate: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let overloaded = || Failure::new(Reason::Overloaded).retry_after(LONGEST);
        let queue = &*self.0;
        let refused = |no_permit| Failure::from(no_permit).retry_after(RETRY);
        let _permit = match caller {
            EstimateFor::Stranger(network) => {
                Either::Left(queue.strangers.acquire(network).map_err(refused)?)
            }
            EstimateFor::Person(person) => {
                Either::Right(queue.people.acquire(Some(person)).map_err(refused)?)
            }
        };
        let turn = {
            let _waiting = Waiting::new();
            let latest_start = deadline.instant().checked_sub(LONGEST);
            let latest_start = latest_start.filter(|_| deadline.remaining() > LONGEST);
            let turn = Arc::clone(&queue.turns).acquire_owned();
            match timeout_at(latest_start.ok_or_else(overloaded)?, turn).await {
                Ok(Ok(turn)) => turn,
                // The semaphore is never closed.
                Ok(Err(_)) | Err(_) => return Err(overloaded()),
            }
        };
        let running = Running::begin(turn);
        let estimating = spawn_blocking(move || {
            let _running = running;
            estimate()
        });
        // The panic's message is left out: it could contain part of a password.
        estimating
            .await
            .map_err(|_| Failure::internal("an estimate of a password did not finish"))
    }
}

// === impl Running ===

impl Running {
    fn begin(permit: OwnedSemaphorePermit) -> Self {
        metrics::gauge!("haven_estimator_running").increment(1.0);
        Self {
            began: Instant::now(),
            _permit: permit,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        metrics::histogram!("haven_estimator_seconds").record(self.began.elapsed());
        metrics::gauge!("haven_estimator_running").decrement(1.0);
    }
}

// === impl Waiting ===

impl Waiting {
    fn new() -> Self {
        metrics::gauge!("haven_estimator_queue_waiting").increment(1.0);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        metrics::gauge!("haven_estimator_queue_waiting").decrement(1.0);
    }
}

/// Describes the metrics of the queue, and sets its gauges to zero.
pub fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_gauge!(
        "haven_estimator_queue_waiting",
        Unit::Count,
        "Calls that wait for an estimate of a password"
    );
    metrics::describe_gauge!(
        "haven_estimator_running",
        Unit::Count,
        "Estimates of passwords in progress"
    );
    metrics::describe_histogram!(
        "haven_estimator_seconds",
        Unit::Seconds,
        "Duration of an estimate of a password"
    );
    metrics::gauge!("haven_estimator_queue_waiting").set(0.0);
    metrics::gauge!("haven_estimator_running").set(0.0);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const NETWORK_UNKNOWN: EstimateFor = EstimateFor::Stranger(None);

    fn network(last: u8) -> EstimateFor {
        EstimateFor::Stranger(Some(Network::of([192, 0, 2, last].into())))
    }

    #[tokio::test]
    async fn a_full_queue_and_a_short_deadline_are_refused_at_once_and_others_have_their_part() {
        let queue = EstimatorQueue::new(NonZeroUsize::MIN);
        let patient = || Deadline::after(Duration::from_secs(3600));
        let (finish, may_finish) = mpsc::channel::<()>();
        let run = |caller| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.run(caller, patient(), || ()).await.is_ok() })
        };
        let running = tokio::spawn({
            let queue = queue.clone();
            async move {
                queue
                    .run(network(1), patient(), move || may_finish.recv())
                    .await
                    .is_ok()
            }
        });
        while queue.0.turns.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let short = Deadline::after(Duration::from_millis(20));
        let refused = queue.run(network(2), short, || ()).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::Overloaded);

        let refusal = async |caller| {
            let refused = tokio::time::timeout(Duration::from_secs(1), queue.run(caller, patient(), || ()));
            refused.await.unwrap().unwrap_err().reason()
        };
        let mut waiting: Vec<_> = (1..STRANGERS_PER_NETWORK).map(|_| run(network(1))).collect();
        tokio::task::yield_now().await;
        assert_eq!(refusal(network(1)).await, Reason::TooManyCalls);
        waiting.extend((STRANGERS_PER_NETWORK..STRANGERS).map(|_| run(NETWORK_UNKNOWN)));
        tokio::task::yield_now().await;
        assert_eq!(refusal(network(2)).await, Reason::Overloaded);
        // Strangers leave the part of people, and one person leaves it to others.
        let [ada, bob] = [1, 2].map(|id| EstimateFor::Person(UserId::new(uuid::Uuid::from_u128(id))));
        waiting.extend([ada, ada, bob].map(run));
        tokio::task::yield_now().await;
        assert_eq!(refusal(ada).await, Reason::TooManyCalls);

        finish.send(()).unwrap();
        assert!(running.await.unwrap());
        for waiter in waiting {
            assert!(waiter.await.unwrap());
        }
        assert!(queue.run(network(1), patient(), || ()).await.is_ok());
    }

    #[tokio::test]
    async fn a_panic_frees_its_place() {
        let queue = EstimatorQueue::new(NonZeroUsize::MIN);
        let soon = || Deadline::after(Duration::from_secs(10));
        let failed: Result<(), Failure> = queue.run(NETWORK_UNKNOWN, soon(), || panic!("no")).await;
        assert_eq!(failed.unwrap_err().reason(), Reason::Internal);
        assert!(queue.run(NETWORK_UNKNOWN, soon(), || ()).await.is_ok());
    }
}
