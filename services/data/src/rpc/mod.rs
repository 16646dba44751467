//! The RPCs: each parses its request into domain types before anything else, calls the store, and converts back.

mod analysis;
mod analysis_queue;
mod conversation;
mod crisis;
pub mod encrypted;
pub mod person;

use std::sync::Arc;

use haven_platform::{
    call::{Call, ServiceName, UserId},
    entropy::Entropy,
    failure::Failure,
    mac::MacKey,
    page::PageTokens,
    reason::Reason,
    time::Clock,
};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    crisis_detection::Detection,
    domain::key_ring::KeyRing,
    notify::Notify,
    store::{analysis::Analyses, analysis_queue::Queue, conversation::Conversations, crisis::CrisisEvents},
};

/// What people write and what comes of it: every service of data but that of people themselves, as the server runs them.
#[derive(Debug)]
pub struct DataRpc {
    /// The messages.
    pub conversations: Conversations,
    /// What was found in them.
    pub analyses: Analyses,
    /// The jobs that this comes of, as workers see them.
    pub queue: Queue,
    /// The crises in them.
    pub crisis_events: CrisisEvents,
    /// Looks for those.
    pub detection: Detection,
    /// What seals and opens texts.
    pub keys: Arc<KeyRing>,
    /// Says that there are new jobs.
    pub new_jobs: Notify,
    /// The line of the workers who wait for one. Only the first looks for it: however many wait, they cost one look a second.
    pub line: Mutex<()>,
    /// Says that there are new crisis events.
    pub new_crisis_events: Notify,
    /// For the keyed hashes of requests.
    pub requests: MacKey,
    /// For lease tokens: each is derived from the request that asked for it.
    pub leases: MacKey,
    /// Page tokens and cursors.
    pub pages: PageTokens,
    /// The time of day.
    pub clock: Clock,
    /// For ids and jitter.
    pub entropy: Entropy,
    /// Says that it is time to stop: whoever waits or watches is told.
    pub stop: CancellationToken,
}

/// Whose a service's page tokens and cursors are: its own, by its name, and no person's.
const NOBODY: UserId = UserId::new(Uuid::nil());

/// The service that calls.
fn caller_service(call: &Call) -> Result<&ServiceName, Failure> {
    let service = call.caller.service.as_ref();
    service.ok_or_else(|| Failure::new(Reason::AccessDenied))
}
