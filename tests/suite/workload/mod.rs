//! Many callers of all mutations, and a journal that tells afterwards what must be stored.
//!
//! ```ignore
//! let workload = Workload::start(&stack.endpoints(), &stack.database, Size::SMALL);
//! // … a fault …
//! let journal = workload.stop().await;
//! journal.verify(&stack.endpoints(), &stack.database, None).await.assert_sound();
//! ```
//!
//! Each caller is a person: they sign up, register a device, call mutations and reads at random, one call at a time, and leave
//! after about a hundred calls. Half of them delete their account; the others stay, and must be found as they left. Another
//! person follows. Workers lease the analysis jobs of all people. Each call is retried as clients do, under the same request
//! id. A person with a call of unknown outcome leaves at once, so that no later change hides what became of it.
//!
//! Everything that is stored names its owner, its object and itself, so a row tells whom it belongs to, and which call wrote
//! it: see [`content`].
//!
//! # Verification
//!
//! [`Journal::verify`](journal::Journal::verify) derives the states that each object may have: the one after the last
//! acknowledged change, or one that a later change of unknown outcome made. It compares them with what the services return to
//! the person, who signs in again, and with the tables as a superuser sees them. `as_of` is for a database that was restored to
//! that time: what was acknowledged before it must be there, and what was asked after it must not be there, except erasures,
//! which may be replayed. Not compared then: whether RefreshSession took effect, because the restored database does not know
//! later refresh tokens; who holds a lease, because it has expired; and the rate limits, which are in unlogged tables.

mod caller;
mod expectation;
mod findings;
pub(crate) mod journal;
mod orphans;
mod person;
pub(crate) mod report;
mod rows;
mod stored;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use futures_util::future::{join, join_all};
use haven_testkit::{Client, database::Database, endpoints::Endpoints, random};
use uuid::Uuid;

use self::{journal::Journal, person::life, worker::work};

/// The number of connections that all people share: fewer than people, as those of a backend are.
const CONNECTIONS: usize = 8;

/// The interval of looking at the journal.
const POLL: Duration = Duration::from_millis(10);

/// The number of callers at the same time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) people: usize,
    pub(crate) workers: usize,
}

impl Size {
    /// Enough to call every mutation within a few seconds.
    pub(crate) const SMALL: Self = Self {
        people: 12,
        workers: 2,
    };
}

/// What all callers share.
struct Scene {
    clients: Vec<Client>,
    backend: Client,
    identity: Client,
    worker: Client,
    journal: Arc<Journal>,
    stopped: Arc<AtomicBool>,
}

/// Callers that run until they are stopped. They have a thread of their own.
pub(crate) struct Workload {
    pub(crate) journal: Arc<Journal>,
    stopped: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

// === impl Workload ===

impl Workload {
    /// Starts callers of the services at `endpoints`, which store in `database`.
    pub(crate) fn start(endpoints: &Endpoints, database: &Database, size: Size) -> Self {
        let journal = Arc::new(Journal::default());
        let stopped = Arc::new(AtomicBool::new(false));
        let (endpoints, database) = (endpoints.clone(), database.clone());
        let (shared, stop) = (journal.clone(), stopped.clone());
        let thread = thread::spawn(move || {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let callers = run(&endpoints, &database, size, shared, stop);
            runtime.enable_all().build().unwrap().block_on(callers);
        });
        Self {
            journal,
            stopped,
            thread: Some(thread),
        }
    }

    /// Waits until `count` more calls than now are acknowledged. Panics when that takes longer than `limit`.
    pub(crate) async fn acknowledges(&self, count: usize, limit: Duration) {
        let goal = self.journal.acknowledged() + count;
        let end = Instant::now() + limit;
        while self.journal.acknowledged() < goal {
            assert!(!self.has_ended(), "the workload ended early");
            assert!(
                Instant::now() < end,
                "not within {limit:?}: {count} acknowledged calls"
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until a call of which an attempt began after `fault` is acknowledged, and returns the time from `fault` until then.
    /// Panics when that takes longer than `limit`.
    pub(crate) async fn succeeds_after(&self, fault: SystemTime, limit: Duration) -> Duration {
        let end = Instant::now() + limit;
        loop {
            if let Some(time) = self.journal.first_success_after(fault) {
                return time;
            }
            assert!(!self.has_ended(), "the workload ended early");
            assert!(Instant::now() < end, "no success within {limit:?}");
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until the calls under way are answered or given up, and returns the journal.
    pub(crate) async fn stop(mut self) -> Arc<Journal> {
        self.stopped.store(true, Relaxed);
        while !self.has_ended() {
            tokio::time::sleep(POLL).await;
        }
        if let Some(Err(panic)) = self.thread.take().map(thread::JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        self.journal.clone()
    }

    fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(thread::JoinHandle::is_finished)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // The thread ends by itself.
        self.stopped.store(true, Relaxed);
    }
}

/// Runs all callers until `stopped`.
async fn run(
    endpoints: &Endpoints,
    database: &Database,
    size: Size,
    journal: Arc<Journal>,
    stopped: Arc<AtomicBool>,
) {
    // Channels belong to the runtime that creates them.
    let clients = (0..CONNECTIONS).map(|_| endpoints.client(None).unwrap());
    let scene = Scene {
        clients: clients.collect(),
        backend: endpoints.client(Some("backend")).unwrap(),
        identity: endpoints.client(Some("identity")).unwrap(),
        worker: endpoints.client(Some("worker")).unwrap(),
        journal,
        stopped,
    };
    let people = (0..size.people).map(|number| life(&scene, number));
    let workers = (0..size.workers).map(|_| work(&scene));
    let callers = join(join_all(people), join_all(workers));
    join(callers, worker::make_failed_jobs_due(&scene, database)).await;
}

// === impl Scene ===

impl Scene {
    fn stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }
}

/// Returns a content that no other change has, and that names its owner and its object.
fn content(person: Uuid, name: impl ToString) -> String {
    format!("{person} {} {}", name.to_string(), random::uuid())
}

/// Returns the owner and the name of the object that a content from [`content`] names.
fn named(content: &str) -> Option<(Uuid, &str)> {
    let mut words = content.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?))
}

/// Returns the state's content of something encrypted, of which each encryption is another one.
fn fingerprint(encrypted: &[u8]) -> String {
    let start = &encrypted[..encrypted.len().min(24)];
    start.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the email address of a person.
fn email(person: Uuid) -> String {
    format!("{}@workload.example.org", person.simple())
}

/// Returns the email address of a person between a change and its undo.
fn moved_email(person: Uuid) -> String {
    format!("moved.{}", email(person))
}
