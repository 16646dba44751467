//! A lane beside the queue, for computations of which each says how much memory it needs.
//!
//! A computation of the queue has memory of a fixed size. A lane admits larger ones: all of a lane together never need more
//! than its budget, and they wait for each other and not for the queue, so that a crowd in the lane leaves the queue its
//! places. The cores are shared by the operating system.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};

use super::{
    memory::Memory,
    queue::{HashPermit, HashQueue, Interrupted, Overloaded},
};
use crate::deadline::Deadline;

/// The time that is reserved for the rest of the call while it waits for memory.
const RESERVE: Duration = Duration::from_millis(50);

/// A lane for computations that need memory of different sizes. Cloning shares it.
#[derive(Clone, Debug)]
pub struct HashLane {
    /// The places: a computation has one while it waits for memory, so that a large one is not overtaken for ever.
    places: HashQueue,
    /// A permit is one KiB.
    memory: Arc<Semaphore>,
    budget_kib: u32,
}

/// The permission to compute once in a lane. Dropping it lets the next call compute.
#[derive(Debug)]
pub struct LanePermit {
    place: HashPermit,
    memory: OwnedSemaphorePermit,
}

// === impl HashLane ===

impl HashLane {
    /// Creates a lane that runs up to `places` computations at once, in up to `budget_kib` KiB of memory together.
    #[must_use]
    pub fn new(places: NonZeroUsize, budget_kib: u32) -> Self {
        Self {
            places: HashQueue::new(places),
            memory: Arc::new(Semaphore::new(
                usize::try_from(budget_kib).unwrap_or(Semaphore::MAX_PERMITS),
            )),
            budget_kib,
        }
    }

    /// Waits for a permit to compute in `kib` KiB, in order of arrival. A computation that needs more than the budget must be
    /// refused before: here it gets the whole budget.
    ///
    /// # Errors
    ///
    /// [`Overloaded`], as [`HashQueue::acquire`].
    pub async fn acquire(&self, kib: u32, deadline: Deadline) -> Result<LanePermit, Overloaded> {
        let place = self.places.acquire(deadline).await?;
        let overloaded = Overloaded {
            retry_after: place.usual_time(),
        };
        let latest = deadline.instant().checked_sub(RESERVE).ok_or(overloaded)?;
        let wanted = Arc::clone(&self.memory).acquire_many_owned(kib.min(self.budget_kib));
        match timeout_at(latest, wanted).await {
            Ok(Ok(memory)) => Ok(LanePermit { place, memory }),
            // The semaphore is never closed.
            Ok(Err(_)) | Err(_) => Err(overloaded),
        }
    }
}

// === impl LanePermit ===

impl LanePermit {
    /// Runs `compute` on a thread for blocking work. The permit moves there, as that of [`HashPermit::run`].
    ///
    /// # Errors
    ///
    /// [`Interrupted`] when `compute` panics, or the runtime is shutting down.
    pub async fn run<T: Send + 'static>(
        self,
        compute: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Interrupted> {
        let Self { place, memory } = self;
        place
            .run(move |reused| {
                let result = compute(reused);
                // What the lane's computations keep would not count towards the budget.
                reused.release();
                drop(memory);
                result
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const MIB: u32 = 1024;

    fn lane(places: usize, mib: u32) -> HashLane {
        HashLane::new(NonZeroUsize::new(places).unwrap(), mib * MIB)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    fn shortly() -> Deadline {
        Deadline::after(Duration::from_millis(400))
    }

    #[tokio::test]
    async fn computations_together_never_have_more_than_the_budget() {
        let lane = lane(8, 128);
        let first = lane.acquire(64 * MIB, soon()).await.unwrap();
        let second = lane.acquire(64 * MIB, soon()).await.unwrap();
        assert!(lane.acquire(1, shortly()).await.is_err(), "the budget is used up");
        drop(first);
        let small = lane.acquire(MIB, soon()).await.unwrap();
        assert!(
            lane.acquire(64 * MIB, shortly()).await.is_err(),
            "63 MiB are left"
        );
        drop((second, small));
        assert!(lane.acquire(1024 * MIB, soon()).await.is_ok(), "the whole budget");
    }

    #[tokio::test]
    async fn a_large_computation_is_not_overtaken_for_ever() {
        let lane = lane(2, 64);
        let running = lane.acquire(60 * MIB, soon()).await.unwrap();
        let waiting = tokio::spawn({
            let lane = lane.clone();
            async move { lane.acquire(64 * MIB, soon()).await.map(drop) }
        });
        while lane.memory.available_permits() != 0 {
            tokio::task::yield_now().await;
        }
        assert!(
            lane.acquire(MIB, shortly()).await.is_err(),
            "behind the large one"
        );
        drop(running);
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_computation_keeps_its_memory_when_its_call_is_cancelled() {
        let lane = lane(2, 64);
        let (started, has_started) = mpsc::channel();
        let (finish, may_finish) = mpsc::channel::<()>();
        let permit = lane.acquire(64 * MIB, soon()).await.unwrap();
        let caller = tokio::spawn(permit.run(move |_| {
            started.send(()).unwrap();
            may_finish.recv().unwrap();
        }));
        tokio::task::spawn_blocking(move || has_started.recv().unwrap())
            .await
            .unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert!(lane.acquire(1, shortly()).await.is_err());
        finish.send(()).unwrap();
        assert!(lane.acquire(64 * MIB, soon()).await.is_ok());
    }
}
