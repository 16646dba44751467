//! The streams of people: of each person only some at once, so that nobody takes the places of everybody, and none that
//! goes on when a call with the same token would be refused.

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

use super::body::{Yielded, end_with};
use crate::{
    access::{AccessTable, Answer},
    auth::TokenVerifier,
    call::{Call, UserId},
    failure::Failure,
    reason::Reason,
};

/// How many streams that go on one person may have at once here, and how many that end: a little more than one for each of
/// the ten devices that they may have.
const MOST: usize = 12;

/// What people have open.
#[derive(Clone)]
pub(super) struct Streams {
    access: AccessTable,
    verifier: Arc<TokenVerifier>,
    open: Open,
}

pub(super) async fn hold(State(streams): State<Streams>, request: Request, next: Next) -> Response {
    let rpc = streams.access.find(request.uri().path());
    let Some(answer) = rpc
        .map(|rpc| rpc.answer)
        .filter(|answer| *answer != Answer::Message)
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
    let Some(place) = streams.open.take(user.id, answer) else {
        metrics::counter!("haven_rpc_shed_total").increment(1);
        return Status::from(Failure::new(Reason::Overloaded)).into_http();
    };
    let verifier = Arc::clone(&streams.verifier);
    let response = next.run(request).await;
    response.map(|body| {
        Body::new(PersonalBody {
            body: Some(body),
            refusal: Box::pin(async move { verifier.refusal(user).await }),
            _place: place,
        })
    })
}

impl Streams {
    pub(super) fn new(access: AccessTable, verifier: Arc<TokenVerifier>) -> Self {
        Self {
            access,
            verifier,
            open: Open::default(),
        }
    }
}

/// How many streams of each kind somebody has. Whoever has none is not in it.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<HashMap<(UserId, Answer), usize>>>);

impl Open {
    /// A place for one more stream, if there is one.
    fn take(&self, person: UserId, answer: Answer) -> Option<StreamSlot> {
        let whose = (person, answer);
        let mut counts = self.counts();
        let count = counts.entry(whose).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        Some(StreamSlot {
            open: self.clone(),
            whose,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<(UserId, Answer), usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one stream, until it is dropped.
struct StreamSlot {
    open: Open,
    whose: (UserId, Answer),
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let mut counts = self.open.counts();
        if let Some(count) = counts.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.whose);
            }
        }
    }
}

/// A person's stream, which ends with a status when they would be refused.
struct PersonalBody {
    /// None once they are.
    body: Option<Body>,
    refusal: BoxFuture<'static, Failure>,
    _place: StreamSlot,
}

impl http_body::Body for PersonalBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Yielded {
        if self.body.is_none() {
            return Poll::Ready(None);
        }
        // First, and not when there is nothing to send: an export always has something.
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
    fn a_person_has_some_streams_of_each_kind_and_whoever_has_none_is_forgotten() {
        let open = Open::default();
        let [ada, bob] = [1, 2].map(|id| UserId::new(Uuid::from_u128(id)));
        let mut places: Vec<_> = (0..MOST).map_while(|_| open.take(ada, Answer::Watch)).collect();
        assert_eq!(places.len(), MOST);
        assert!(open.take(ada, Answer::Watch).is_none());
        let others = [open.take(ada, Answer::Stream), open.take(bob, Answer::Watch)];
        assert!(others.iter().all(Option::is_some));
        places.pop();
        places.extend(open.take(ada, Answer::Watch));
        assert_eq!(places.len(), MOST);
        drop((places, others));
        assert!(open.counts().is_empty());
    }
}
