//! Load shedding: refuses calls above the maximum in flight, and all new calls while the server stops, at once and at
//! little cost.

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

use super::response_body::MappedBody;
use crate::{
    access::{Access, AccessTable, ResponseKind},
    failure::Failure,
    reason::Reason,
};

/// The path prefix of the health service, which must answer while all other calls are refused.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// The state of the layer: the permits for calls in flight, overall and of each kind.
#[derive(Clone)]
pub(super) struct LoadShedding {
    access: AccessTable,
    permits: Arc<Semaphore>,
    max: usize,
    /// The permits for RPCs without credentials: three quarters of all, so that a flood of sign-ins, which wait in the
    /// hash queue, leaves some to authenticated users.
    unauthenticated: Arc<Semaphore>,
    /// The permits for streams that stay open: a quarter of all, so that watchers leave some for calls.
    watches: Arc<Semaphore>,
    /// The permits for streams that end: a quarter of all, which streams that stay open cannot use up.
    streams: Arc<Semaphore>,
    draining: Arc<AtomicBool>,
}

impl LoadShedding {
    pub(super) fn new(max: usize, access: AccessTable) -> Self {
        Self {
            access,
            permits: Arc::new(Semaphore::new(max)),
            max,
            unauthenticated: Arc::new(Semaphore::new(max - max / 4)),
            watches: Arc::new(Semaphore::new((max / 4).max(1))),
            streams: Arc::new(Semaphore::new((max / 4).max(1))),
            draining: Arc::default(),
        }
    }

    /// Refuses all calls from now on with DRAINING.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Returns the permits of one more call; `None` when none are left for its kind.
    fn admit(&self, path: &str) -> Option<[Option<OwnedSemaphorePermit>; 2]> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        let kind_permits = self.access.find(path).and_then(|rpc| match rpc.response {
            ResponseKind::Message => (rpc.access == Access::Anyone).then_some(&self.unauthenticated),
            ResponseKind::Stream => Some(&self.streams),
            ResponseKind::Watch => Some(&self.watches),
        });
        let kind_permits = match kind_permits {
            Some(permits) => Some(Arc::clone(permits).try_acquire_owned().ok()?),
            None => None,
        };
        Some([Some(permit), kind_permits])
    }

    /// Returns the number of calls in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.max - self.permits.available_permits()
    }
}

/// The layer: refuses the call with DRAINING or OVERLOADED, or holds its permits until the response is sent.
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
    // The permits are held until the last frame was sent.
    response.map(|body| {
        Body::new(MappedBody::new(body, move |frame: Frame<Bytes>| {
            let _held = &permits;
            frame
        }))
    })
}
