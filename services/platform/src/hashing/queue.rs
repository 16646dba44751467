//! Who may hash, when, and in which memory.
//!
//! A hash keeps one core busy and fills 19 MiB. More at once than there are cores would finish none of them sooner and take
//! memory without a bound, so whoever is one too many waits; and whoever would wait for longer than its caller does is
//! turned away before it costs anything.

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

/// What a caller still has to do after hashing is a transaction, and the answer, on cores that are busy with the others'
/// hashes: a quarter of its time is kept for that, within these bounds.
const MIN_RESERVE: Duration = Duration::from_millis(50);
const MAX_RESERVE: Duration = Duration::from_millis(500);

/// How many may wait. The others are turned away even if their deadline is far: a position in the queue is a position among the
/// calls under way, which those need as well that hash nothing.
pub const MAX_WAITING: usize = 128;

/// The queue for the machine's cores. Cloning shares it.
#[derive(Clone, Debug)]
pub struct HashQueue(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    throughput: Throughput,
    /// Memory of turns that ended. A fresh 19 MiB would cost a page fault for every 4 KiB of it.
    spare: Mutex<Vec<Memory>>,
}

/// A turn to compute. It ends when it is dropped.
#[derive(Debug)]
pub struct HashPermit {
    queue: Arc<Queue>,
    began: Instant,
    memory: Memory,
    _permit: OwnedSemaphorePermit,
}

/// There is no turn before the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no turn to hash before the deadline")]
pub struct Overloaded {
    /// How long the queue is now.
    pub retry_after: Duration,
}

/// A turn did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// A defect. Not in the words of the panic, which can repeat a piece of a password.
    #[error("a turn to hash panicked")]
    Panicked,
    /// Nothing is computed any more.
    #[error("the runtime is shutting down")]
    ShuttingDown,
}

// === impl HashQueue ===

impl HashQueue {
    /// A queue for `cores` at once.
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

    /// Waits for a turn, in the order of arrival.
    ///
    /// # Errors
    ///
    /// [`Overloaded`], at once, when the queue is too long to compute and to answer before `deadline`; or later, when it
    /// proves to be.
    pub async fn acquire(&self, deadline: Deadline) -> Result<HashPermit, Overloaded> {
        let queue = &self.0;
        let position = QueuePosition::take(queue);
        let turn = queue.throughput.turn();
        let wait = queue.wait(position.ahead);
        let overloaded = Overloaded {
            retry_after: wait.max(turn),
        };
        let remaining = deadline.remaining();
        let reserve = (remaining / 4).clamp(MIN_RESERVE, MAX_RESERVE);
        let latest_start = deadline.instant().checked_sub(turn + reserve).ok_or(overloaded)?;
        if position.ahead >= MAX_WAITING || remaining < wait + turn + reserve {
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
            // The semaphore is never closed; a turn that cannot come is none.
            Ok(Err(_)) | Err(_) => Err(overloaded),
        }
    }
}

/// Says what the metrics of this file mean, for whoever scrapes them.
pub fn describe_metrics() {
    use metrics::Unit;
    metrics::describe_gauge!(
        "haven_hash_queue_waiting",
        Unit::Count,
        "Calls that wait for a turn to hash"
    );
    metrics::describe_gauge!(
        "haven_hash_running",
        Unit::Count,
        "Turns to hash that are running"
    );
    metrics::describe_histogram!(
        "haven_hash_seconds",
        Unit::Seconds,
        "How long a turn to hash took"
    );
    metrics::gauge!("haven_hash_queue_waiting").set(0.0);
    metrics::gauge!("haven_hash_running").set(0.0);
}

// === impl Queue ===

impl Queue {
    /// How long somebody waits with `ahead` others before them.
    fn wait(&self, ahead: usize) -> Duration {
        self.throughput
            .time_for((ahead + 1).saturating_sub(self.permits.available_permits()))
    }

    fn spare(&self) -> std::sync::MutexGuard<'_, Vec<Memory>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A position in the queue, given up when it is dropped: also when its caller goes away.
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
    /// Computes on a thread for that. The turn goes with it: a caller that goes away frees neither core nor memory before
    /// the computing has ended.
    ///
    /// # Errors
    ///
    /// When `compute` panics, or the runtime is shutting down.
    pub async fn run<T: Send + 'static>(
        mut self,
        compute: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Interrupted> {
        let turn = spawn_blocking(move || {
            let begin = Instant::now();
            let result = compute(&mut self.memory);
            metrics::histogram!("haven_hash_seconds").record(begin.elapsed());
            result
        });
        turn.await.map_err(|error| match error.is_panic() {
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
    async fn a_turn_outlives_its_caller_and_its_memory_is_used_again() {
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
        assert_eq!(queue.0.permits.available_permits(), 0, "the turn is still taken");
        finish.send(()).unwrap();
        let next = queue.acquire(soon()).await.unwrap();
        assert_eq!(next.memory.kib(), 19_456);
        assert!(queue.0.spare().is_empty());
    }

    #[tokio::test]
    async fn whoever_cannot_be_done_in_time_is_turned_away_at_once() {
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
    async fn the_queue_has_an_end_however_patient_they_are() {
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
    async fn whoever_waits_in_vain_is_turned_away_before_hashing() {
        let queue = queue(1);
        let running = queue.acquire(soon()).await.unwrap();
        let deadline = Deadline::after(Duration::from_millis(100));
        assert!(queue.acquire(deadline).await.is_err());
        assert!(deadline.remaining() > Duration::ZERO);
        drop(running);
        assert!(queue.acquire(soon()).await.is_ok());
    }

    #[tokio::test]
    async fn a_panic_ends_its_turn() {
        let queue = queue(1);
        let failed = queue.acquire(soon()).await.unwrap().run(|_| panic!("no")).await;
        assert_eq!(failed, Err::<(), _>(Interrupted::Panicked));
        assert!(queue.acquire(soon()).await.is_ok());
    }
}
