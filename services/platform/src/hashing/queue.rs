//! The queue for hash computations.
//!
//! A hash occupies one core and 19 MiB. More computations than cores would finish none of them sooner and use unlimited
//! memory, so further calls wait in a queue. A call that would not finish before its deadline is refused at once,
//! before it costs anything.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout_at,
};

use super::{memory::Memory, throughput::Throughput};
use crate::{deadline::Deadline, failure::Failure, reason::Reason};

/// The bounds of the time that is reserved for the rest of the call after the hash: a transaction and the response, on
/// cores that are busy with other hashes. The reserve is a quarter of the remaining time.
const MIN_RESERVE: Duration = Duration::from_millis(50);
const MAX_RESERVE: Duration = Duration::from_millis(500);

/// The maximum number of waiting calls. Further calls are refused even when their deadline is far: a waiting call also
/// counts as a call in flight, and calls that hash nothing need permits too.
pub const MAX_WAITING: usize = 128;

/// The queue for hash computations on the machine's cores. Cloning shares it.
#[derive(Clone, Debug)]
pub struct HashQueue(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    throughput: Throughput,
    /// Memory of finished computations. New memory of 19 MiB would cost a page fault for every 4 KiB.
    spare: Mutex<Vec<Memory>>,
}

/// The permission to compute one hash. Dropping it lets the next call compute.
#[derive(Debug)]
pub struct HashPermit {
    queue: Arc<Queue>,
    began: Instant,
    memory: Memory,
    _permit: OwnedSemaphorePermit,
}

/// The error of a call that cannot compute before its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hash queue is too long for the deadline")]
pub struct Overloaded {
    /// The current waiting time of the queue.
    pub retry_after: Duration,
}

/// The reason why a computation did not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The computation panicked, which is a defect. The panic's message is left out: it could contain part of a
    /// password.
    #[error("a hash computation panicked")]
    Panicked,
    /// The runtime is shutting down, and runs no computation.
    #[error("the runtime is shutting down")]
    ShuttingDown,
}

// === impl HashQueue ===

impl HashQueue {
    /// Creates a queue that runs up to `cores` computations at once.
    #[must_use]
    pub fn new(cores: NonZeroUsize) -> Self {
        let cores = cores.get();
        Self(Arc::new(Queue {
            permits: Arc::new(Semaphore::new(cores)),
            waiting: AtomicUsize::new(0),
            throughput: Throughput::new(cores),
            spare: Mutex::default(),
        }))
    }

    /// Waits for a permit, in order of arrival.
    ///
    /// # Errors
    ///
    /// [`Overloaded`]: at once when the queue is too long to compute and answer before `deadline`, or later when it
    /// takes longer than estimated.
    pub async fn acquire(&self, deadline: Deadline) -> Result<HashPermit, Overloaded> {
        let queue = &self.0;
        let position = QueuePosition::take(queue);
        let hash_time = queue.throughput.hash_time();
        let wait = queue.wait(position.ahead);
        let overloaded = Overloaded {
            retry_after: wait.max(hash_time),
        };
        let remaining = deadline.remaining();
        let reserve = (remaining / 4).clamp(MIN_RESERVE, MAX_RESERVE);
        let latest_start = deadline
            .instant()
            .checked_sub(hash_time + reserve)
            .ok_or(overloaded)?;
        if position.ahead >= MAX_WAITING || remaining < wait + hash_time + reserve {
            return Err(overloaded);
        }
        match timeout_at(latest_start, queue.permits.clone().acquire_owned()).await {
            Ok(Ok(permit)) => {
                let memory = queue.spare().pop().unwrap_or_default();
                metrics::gauge!("haven_hash_running").increment(1.0);
                Ok(HashPermit {
                    queue: queue.clone(),
                    began: Instant::now(),
                    memory,
                    _permit: permit,
                })
            }
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(overloaded),
        }
    }
}

/// Describes the metrics of the queue, and sets its gauges to zero.
pub fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_gauge!(
        "haven_hash_queue_waiting",
        Unit::Count,
        "Calls that wait for a hash computation"
    );
    metrics::describe_gauge!("haven_hash_running", Unit::Count, "Hash computations in progress");
    metrics::describe_histogram!(
        "haven_hash_seconds",
        Unit::Seconds,
        "Duration of a hash computation"
    );
    metrics::gauge!("haven_hash_queue_waiting").set(0.0);
    metrics::gauge!("haven_hash_running").set(0.0);
}

// === impl Queue ===

impl Queue {
    /// Returns the expected wait of a call with `ahead` calls before it.
    fn wait(&self, ahead: usize) -> Duration {
        self.throughput
            .time_for((ahead + 1).saturating_sub(self.permits.available_permits()))
    }

    fn spare(&self) -> std::sync::MutexGuard<'_, Vec<Memory>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The position of a waiting call. Dropping it removes the call from the queue, also when the call is cancelled.
struct QueuePosition<'a> {
    queue: &'a Queue,
    ahead: usize,
}

impl<'a> QueuePosition<'a> {
    fn take(queue: &'a Queue) -> Self {
        metrics::gauge!("haven_hash_queue_waiting").increment(1.0);
        Self {
            queue,
            ahead: queue.waiting.fetch_add(1, Relaxed),
        }
    }
}

impl Drop for QueuePosition<'_> {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Relaxed);
        metrics::gauge!("haven_hash_queue_waiting").decrement(1.0);
    }
}

// === impl HashPermit ===

impl HashPermit {
    /// Returns the usual time of a computation of this queue.
    pub(super) fn usual_time(&self) -> Duration {
        self.queue.throughput.hash_time()
    }

    /// Runs `compute` on a thread for blocking work. The permit moves there: a cancelled call frees neither core nor
    /// memory before the computation has ended.
    ///
    /// # Errors
    ///
    /// [`Interrupted`] when `compute` panics, or the runtime is shutting down.
    pub async fn run<T: Send + 'static>(
        mut self,
        compute: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Interrupted> {
        let computation = spawn_blocking(move || {
            let begin = Instant::now();
            let result = compute(&mut self.memory);
            metrics::histogram!("haven_hash_seconds").record(begin.elapsed());
            result
        });
        computation.await.map_err(|error| match error.is_panic() {
            true => Interrupted::Panicked,
            false => Interrupted::ShuttingDown,
        })
    }
}

impl Drop for HashPermit {
    fn drop(&mut self) {
        self.queue.spare().push(std::mem::take(&mut self.memory));
        let waited_for = self.queue.waiting.load(Relaxed) > 0;
        self.queue
            .throughput
            .ended(self.began, Instant::now(), waited_for);
        metrics::gauge!("haven_hash_running").decrement(1.0);
    }
}

// === impl Overloaded ===

impl From<Overloaded> for Failure {
    fn from(overloaded: Overloaded) -> Self {
        Self::new(Reason::Overloaded).retry_after(overloaded.retry_after)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::time::timeout;

    use super::*;

    fn queue(cores: usize) -> HashQueue {
        HashQueue::new(NonZeroUsize::new(cores).unwrap())
    }

    fn kernel() -> argon2_rust::Argon2 {
        use argon2_rust::{Algorithm, Params, Version};
        argon2_rust::Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::OWASP)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    #[tokio::test]
    async fn a_computation_outlives_its_cancelled_call_and_its_memory_is_reused() {
        let queue = queue(1);
        let (started, has_started) = mpsc::channel();
        let (finish, may_finish) = mpsc::channel::<()>();
        let permit = queue.acquire(soon()).await.unwrap();
        let caller = tokio::spawn(permit.run(move |memory| {
            memory.kernel(kernel()).reserve().unwrap();
            started.send(()).unwrap();
            may_finish.recv().unwrap();
        }));
        tokio::task::spawn_blocking(move || has_started.recv().unwrap())
            .await
            .unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(
            queue.0.permits.available_permits(),
            0,
            "the permit is still taken"
        );
        finish.send(()).unwrap();
        let next = queue.acquire(soon()).await.unwrap();
        assert_eq!(next.memory.kib(), 19_456);
        assert!(queue.0.spare().is_empty());
    }

    #[tokio::test]
    async fn a_call_that_cannot_finish_in_time_is_refused_at_once() {
        let queue = queue(2);
        let short = || Deadline::after(Duration::from_millis(200));
        let running = (
            queue.acquire(short()).await.unwrap(),
            queue.acquire(short()).await.unwrap(),
        );
        let too_short = queue.acquire(Deadline::after(Duration::from_millis(5))).await;
        assert!(too_short.is_err());
        let mut waiting = Vec::new();
        for _ in 0..100 {
            let queue = queue.clone();
            waiting.push(tokio::spawn(async move { queue.acquire(soon()).await.map(drop) }));
        }
        while queue.0.waiting.load(Relaxed) < 100 {
            tokio::task::yield_now().await;
        }
        let begin = Instant::now();
        let refused = queue
            .acquire(Deadline::after(Duration::from_secs(1)))
            .await
            .unwrap_err();
        assert!(begin.elapsed() < Duration::from_millis(100), "at once");
        assert!(refused.retry_after > Duration::from_millis(900), "{refused:?}");
        drop(running);
        for waiter in waiting {
            waiter.await.unwrap().unwrap();
        }
        assert_eq!(queue.0.waiting.load(Relaxed), 0);
        assert_eq!(queue.0.permits.available_permits(), 2);
    }

    #[tokio::test]
    async fn the_number_of_waiting_calls_is_limited_for_any_deadline() {
        let queue = queue(1);
        let patient = || Deadline::after(Duration::from_secs(3600));
        let running = queue.acquire(patient()).await.unwrap();
        let waiting: Vec<_> = (0..MAX_WAITING)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.acquire(patient()).await.map(drop) })
            })
            .collect();
        while queue.0.waiting.load(Relaxed) < MAX_WAITING {
            tokio::task::yield_now().await;
        }
        let one_more = timeout(Duration::from_secs(1), queue.acquire(patient())).await;
        assert!(one_more.expect("at once").is_err());
        drop(running);
        for waiter in waiting {
            waiter.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_call_whose_wait_takes_too_long_is_refused_before_hashing() {
        let queue = queue(1);
        let running = queue.acquire(soon()).await.unwrap();
        let deadline = Deadline::after(Duration::from_millis(100));
        assert!(queue.acquire(deadline).await.is_err());
        assert!(deadline.remaining() > Duration::ZERO);
        drop(running);
        assert!(queue.acquire(soon()).await.is_ok());
    }

    #[tokio::test]
    async fn a_panic_frees_its_permit() {
        let queue = queue(1);
        let failed = queue.acquire(soon()).await.unwrap().run(|_| panic!("no")).await;
        assert_eq!(failed, Err::<(), _>(Interrupted::Panicked));
        assert!(queue.acquire(soon()).await.is_ok());
    }
}
