//! Stream limits: each user may have a few streams open at once, so that one user cannot take the permits of others,
//! and a stream ends when a new call with its token would be refused.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use futures_util::future::BoxFuture;
use tonic::Status;

use super::response_body::{PolledFrame, end_with};
use crate::{
    access::{AccessTable, ResponseKind},
    auth::TokenVerifier,
    call::{Call, UserId},
    failure::Failure,
    reason::Reason,
};

/// The state of the layer: the access table, the verifier, and the open streams.
#[derive(Clone)]
pub(super) struct StreamLimits {
    access: AccessTable,
    verifier: Arc<TokenVerifier>,
    open: OpenStreams,
}

/// The layer: refuses a stream above the limit with OVERLOADED, and ends a stream when its user would be refused.
pub(super) async fn limit_streams(
    State(streams): State<StreamLimits>,
    request: Request,
    next: Next,
) -> Response {
    let rpc = streams.access.find(request.uri().path());
    let Some(kind) = rpc
        .map(|rpc| rpc.response)
        .filter(|kind| *kind != ResponseKind::Message)
    else {
        return next.run(request).await;
    };
    let user = request
        .extensions()
        .get::<Call>()
        .and_then(|call| call.caller.user);
    let Some(user) = user else {
        return next.run(request).await;
    };
    let Some(permit) = streams.open.acquire(user.id, kind) else {
        metrics::counter!("haven_rpc_shed_total").increment(1);
        return Status::from(Failure::new(Reason::Overloaded)).into_http();
    };
    let verifier = Arc::clone(&streams.verifier);
    let response = next.run(request).await;
    response.map(|body| {
        Body::new(UserStreamBody {
            body: Some(body),
            refusal: Box::pin(async move { verifier.refusal(user).await }),
            _permit: permit,
        })
    })
}

impl StreamLimits {
    /// Creates the state. `max_per_user` applies to each kind of stream.
    pub(super) fn new(access: AccessTable, verifier: Arc<TokenVerifier>, max_per_user: usize) -> Self {
        Self {
            access,
            verifier,
            open: OpenStreams::new(max_per_user),
        }
    }
}

/// The open streams of each user, counted by kind. A user without an open stream has no entry.
#[derive(Clone)]
struct OpenStreams {
    max_per_user: usize,
    counts: Arc<Mutex<StreamCounts>>,
}

type StreamCounts = HashMap<(UserId, ResponseKind), usize>;

impl OpenStreams {
    fn new(max_per_user: usize) -> Self {
        Self {
            max_per_user,
            counts: Arc::default(),
        }
    }

    /// Counts one more stream of `user`; `None` when the user has as many of this kind as allowed.
    fn acquire(&self, user: UserId, kind: ResponseKind) -> Option<StreamPermit> {
        let key = (user, kind);
        let mut counts = self.counts();
        let count = counts.entry(key).or_default();
        if *count >= self.max_per_user {
            return None;
        }
        *count += 1;
        Some(StreamPermit {
            open: self.clone(),
            key,
        })
    }

    fn counts(&self) -> MutexGuard<'_, StreamCounts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A user's permission for one stream, until it is dropped.
struct StreamPermit {
    open: OpenStreams,
    key: (UserId, ResponseKind),
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut counts = self.open.counts();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// A user's stream, which ends with a status when a new call of the user would be refused.
struct UserStreamBody {
    /// `None` after the final status.
    body: Option<Body>,
    refusal: BoxFuture<'static, Failure>,
    _permit: StreamPermit,
}

impl http_body::Body for UserStreamBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame {
        if self.body.is_none() {
            return Poll::Ready(None);
        }
        // Checked first on every poll, because a stream that always has data would otherwise never be ended.
        if let Poll::Ready(failure) = self.refusal.as_mut().poll(cx) {
            self.body = None;
            return end_with(&failure.into());
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body
            .as_ref()
            .map(http_body::Body::size_hint)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_user_has_a_limit_per_kind_and_a_user_without_streams_has_no_entry() {
        const MAX: usize = 3;
        let open = OpenStreams::new(MAX);
        let [ada, bob] = [1, 2].map(|id| UserId::new(Uuid::from_u128(id)));
        let mut permits: Vec<_> = (0..MAX)
            .map_while(|_| open.acquire(ada, ResponseKind::Watch))
            .collect();
        assert_eq!(permits.len(), MAX);
        assert!(open.acquire(ada, ResponseKind::Watch).is_none());
        let others = [
            open.acquire(ada, ResponseKind::Stream),
            open.acquire(bob, ResponseKind::Watch),
        ];
        assert!(others.iter().all(Option::is_some));
        permits.pop();
        permits.extend(open.acquire(ada, ResponseKind::Watch));
        assert_eq!(permits.len(), MAX);
        drop((permits, others));
        assert!(open.counts().is_empty());
    }
}
