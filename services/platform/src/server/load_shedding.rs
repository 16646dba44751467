//! No more work than can be done, and none while stopping. What is turned away is turned away at once, and cheaply.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http_body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;

use super::body::MappedBody;
use crate::{
    access::{Access, AccessTable, ResponseKind},
    failure::Failure,
    reason::Reason,
};

/// Health has to answer while everything else is turned away.
const HEALTH: &str = "/grpc.health.v1.Health/";

#[derive(Clone)]
pub(super) struct LoadShedding {
    access: AccessTable,
    permits: Arc<Semaphore>,
    max: usize,
    /// What RPCs that anybody may call can have of it: three quarters, so that a flood of sign-ins, which wait for their
    /// turn to hash, leaves room for people who are signed in.
    anyone: Arc<Semaphore>,
    /// What streams that go on can have of it: a quarter, so that who watches leaves room for who calls.
    watches: Arc<Semaphore>,
    /// What streams that end can have of it: a quarter of their own, which those that go on do not take.
    streams: Arc<Semaphore>,
    draining: Arc<AtomicBool>,
}

impl LoadShedding {
    pub(super) fn new(max: usize, access: AccessTable) -> Self {
        Self {
            access,
            permits: Arc::new(Semaphore::new(max)),
            max,
            anyone: Arc::new(Semaphore::new(max - max / 4)),
            watches: Arc::new(Semaphore::new((max / 4).max(1))),
            streams: Arc::new(Semaphore::new((max / 4).max(1))),
            draining: Arc::default(),
        }
    }

    /// From now on new calls are told to go elsewhere.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// A place for a call, if there is one for its kind.
    fn admit(&self, path: &str) -> Option<[Option<OwnedSemaphorePermit>; 2]> {
        let place = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let of_its_kind = self.access.find(path).and_then(|rpc| match rpc.response {
            ResponseKind::Message => (rpc.access == Access::Anyone).then_some(&self.anyone),
            ResponseKind::Stream => Some(&self.streams),
            ResponseKind::Watch => Some(&self.watches),
        });
        let of_its_kind = match of_its_kind {
            Some(places) => Some(Arc::clone(places).try_acquire_owned().ok()?),
            None => None,
        };
        Some([Some(place), of_its_kind])
    }

    pub(super) fn in_flight(&self) -> usize {
        self.max - self.permits.available_permits()
    }
}

pub(super) async fn shed_load(
    State(shedding): State<LoadShedding>,
    request: Request,
    next: Next,
) -> Response {
    if request.uri().path().starts_with(HEALTH) {
        return next.run(request).await;
    }
    if shedding.draining.load(Ordering::Relaxed) {
        return Status::from(Failure::new(Reason::Draining)).into_http();
    }
    let Some(permits) = shedding.admit(request.uri().path()) else {
        metrics::counter!("haven_rpc_shed_total").increment(1);
        return Status::from(Failure::new(Reason::Overloaded)).into_http();
    };
    let response = next.run(request).await;
    // The place is taken until the last frame is out.
    response.map(|body| {
        Body::new(MappedBody::new(body, move |frame: Frame<Bytes>| {
            let _held = &permits;
            frame
        }))
    })
}
