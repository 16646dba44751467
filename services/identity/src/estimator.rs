//! The queue for estimates of how guessable a password is.
//!
//! An estimate takes a core for milliseconds and no memory to speak of, so it has a queue apart from that of hashes: people who type
//! a new password do not delay sign-ins. It runs on at most half of the cores.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use haven_platform::{deadline::Deadline, failure::Failure, reason::Reason};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout_at,
};

/// The maximum number of waiting calls. Further calls are refused at once.
const MAX_WAITING: usize = 64;

/// The maximum time of an estimate on a core of its own, with a margin for slow machines: the input is cut
/// to a length that cannot take longer.
const LONGEST: Duration = Duration::from_millis(50);

/// The queue. Clones share it.
#[derive(Clone, Debug)]
pub struct EstimatorQueue(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// A waiting call. Dropping it removes the call from the queue, also when the call is cancelled.
struct Waiting<'a>(&'a Queue);

/// An estimate in progress. Dropping it lets the next call run, also when the estimate panics.
struct Running {
    began: Instant,
    _permit: OwnedSemaphorePermit,
}

// === impl EstimatorQueue ===

impl EstimatorQueue {
    /// Creates a queue for a machine with this number of cores.
    #[must_use]
    pub fn new(cores: NonZeroUsize) -> Self {
        Self(Arc::new(Queue {
            permits: Arc::new(Semaphore::new(cores.get().div_ceil(2))),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// Runs `estimate` on a thread for blocking work, when it is the call's turn. A call that is cancelled keeps its place until
    /// its estimate has ended.
    ///
    /// # Errors
    ///
    /// OVERLOADED when the queue is full, or has no turn before `deadline`.
    pub async fn run<T: Send + 'static>(
        &self,
        deadline: Deadline,
        estimate: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let overloaded = || Failure::new(Reason::Overloaded).retry_after(LONGEST);
        let queue = &*self.0;
        let permit = {
            let (_waiting, ahead) = Waiting::take(queue);
            let latest_start = deadline.instant().checked_sub(LONGEST);
            let latest_start = latest_start.filter(|_| ahead < MAX_WAITING && deadline.remaining() > LONGEST);
            let turn = Arc::clone(&queue.permits).acquire_owned();
            match timeout_at(latest_start.ok_or_else(overloaded)?, turn).await {
                Ok(Ok(permit)) => permit,
                // The semaphore is never closed.
                Ok(Err(_)) | Err(_) => return Err(overloaded()),
            }
        };
        let running = Running::begin(permit);
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

impl<'a> Waiting<'a> {
    /// Takes a place. Also returns the number of calls that wait already.
    fn take(queue: &'a Queue) -> (Self, usize) {
        metrics::gauge!("haven_estimator_queue_waiting").increment(1.0);
        (Self(queue), queue.waiting.fetch_add(1, Relaxed))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
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

    #[tokio::test]
    async fn a_full_queue_and_a_short_deadline_are_refused_at_once() {
        let queue = EstimatorQueue::new(NonZeroUsize::MIN);
        let patient = || Deadline::after(Duration::from_secs(3600));
        let (finish, may_finish) = mpsc::channel::<()>();
        let running = tokio::spawn({
            let queue = queue.clone();
            async move { queue.run(patient(), move || may_finish.recv()).await.is_ok() }
        });
        while queue.0.permits.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let short = Deadline::after(Duration::from_millis(20));
        let refused = queue.run(short, || ()).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::Overloaded);
        let waiting: Vec<_> = (0..MAX_WAITING)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.run(patient(), || ()).await.is_ok() })
            })
            .collect();
        while queue.0.waiting.load(Relaxed) < MAX_WAITING {
            tokio::task::yield_now().await;
        }
        let one_more = tokio::time::timeout(Duration::from_secs(1), queue.run(patient(), || ()));
        assert_eq!(one_more.await.unwrap().unwrap_err().reason(), Reason::Overloaded);
        finish.send(()).unwrap();
        assert!(running.await.unwrap());
        for waiter in waiting {
            assert!(waiter.await.unwrap());
        }
        assert_eq!(queue.0.waiting.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn a_panic_frees_its_place() {
        let queue = EstimatorQueue::new(NonZeroUsize::MIN);
        let soon = || Deadline::after(Duration::from_secs(10));
        let failed: Result<(), Failure> = queue.run(soon(), || panic!("no")).await;
        assert_eq!(failed.unwrap_err().reason(), Reason::Internal);
        assert!(queue.run(soon(), || ()).await.is_ok());
    }
}
