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
use tokio::sync::Semaphore;
use tonic::Status;

use super::body::MappedBody;
use crate::{failure::Failure, reason::Reason};

/// Health has to answer while everything else is turned away.
const HEALTH: &str = "/grpc.health.v1.Health/";

#[derive(Clone)]
pub(super) struct Shedding {
    permits: Arc<Semaphore>,
    max: usize,
    draining: Arc<AtomicBool>,
}

impl Shedding {
    pub(super) fn new(max: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(max)),
            max,
            draining: Arc::default(),
        }
    }

    /// From now on new calls are told to go elsewhere.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.max - self.permits.available_permits()
    }
}

pub(super) async fn shed(State(shedding): State<Shedding>, request: Request, next: Next) -> Response {
    if request.uri().path().starts_with(HEALTH) {
        return next.run(request).await;
    }
    if shedding.draining.load(Ordering::Relaxed) {
        return Status::from(Failure::new(Reason::Draining)).into_http();
    }
    let Ok(permit) = shedding.permits.try_acquire_owned() else {
        metrics::counter!("haven_rpc_shed_total").increment(1);
        return Status::from(Failure::new(Reason::Overloaded)).into_http();
    };
    let response = next.run(request).await;
    // The place is taken until the last frame is out.
    response.map(|body| {
        Body::new(MappedBody::new(body, move |frame: Frame<Bytes>| {
            let _held = &permit;
            frame
        }))
    })
}
