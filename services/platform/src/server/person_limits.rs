//! Person shares: each person holds a share of the places at most, so that one person cannot take those of others, also over
//! the connection of a service. A stream ends when a new call with its token would be refused, and a device's watch ends
//! when the device opens a new one.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use futures_util::{FutureExt, future::BoxFuture};
use http_body::Frame;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use super::{
    layer::{Chain, Next},
    load_shedding::{Holder, Part},
    places::Place,
    response_body::{MappedBody, PolledFrame, end_with},
    status,
};
use crate::{
    access::{AccessTable, ResponseKind},
    auth::TokenVerifier,
    call::{Call, User, UserId},
    failure::Failure,
    network::NetworkSource,
    reason::Reason,
    watch_key::WatchKey,
};

/// The state of the layer: the access table, the verifier, and the watches of devices.
#[derive(Clone)]
pub(super) struct PersonLimits {
    access: AccessTable,
    verifier: Arc<TokenVerifier>,
    /// The maximum number of streams of each kind that a person may have open at once.
    max_streams: usize,
    watches: KeyedWatches,
}

/// The layer: refuses a call above its person's share with TOO_MANY_CALLS, and ends a stream when its user would be refused.
pub(super) async fn limit_person<C: Chain>(
    limits: Arc<PersonLimits>,
    mut request: Request,
    next: Next<C>,
) -> Response {
    let kind = limits.access.find(request.uri().path()).map(|rpc| rpc.response);
    let part = request.extensions_mut().remove::<Part>();
    let (Some(part), Some(call)) = (part, request.extensions().get::<Call>()) else {
        // The health service has no places.
        return next.run(request).await;
    };
    let forwarded = (call.network_source == NetworkSource::Forwarded)
        .then(|| call.caller.service.clone().zip(call.network))
        .flatten();
    let answered = match (call.caller.user, kind) {
        (Some(user), Some(ResponseKind::Watch)) => limits.watch(&part, user, request, next).await,
        (Some(user), Some(ResponseKind::Stream)) => limits.stream(&part, user, request, next).await,
        (Some(user), _) => hold(&part, Holder::Person(user.id), request, next).await,
        (None, _) => match forwarded {
            Some((service, network)) => hold(&part, Holder::Forwarded(service, network), request, next).await,
            None => Ok(next.run(request).await),
        },
    };
    answered.unwrap_or_else(|failure| Status::from(failure).into_http())
}

/// Counts a call with one answer for `holder`, until the answer is sent.
async fn hold<C: Chain>(
    part: &Part,
    holder: Holder,
    request: Request,
    next: Next<C>,
) -> Result<Response, Failure> {
    let held = part.count_for(holder, usize::MAX)?;
    let response = next.run(request).await;
    Ok(response.map(|body| {
        Body::new(MappedBody::new(body, move |frame: Frame<Bytes>| {
            let _held = &held;
            frame
        }))
    }))
}

impl PersonLimits {
    /// Creates the state. `max_streams` applies to each kind of stream.
    pub(super) fn new(access: AccessTable, verifier: Arc<TokenVerifier>, max_streams: usize) -> Self {
        Self {
            access,
            verifier,
            max_streams,
            watches: KeyedWatches::default(),
        }
    }

    async fn stream<C: Chain>(
        &self,
        part: &Part,
        user: User,
        request: Request,
        next: Next<C>,
    ) -> Result<Response, Failure> {
        let held = part.count_for(Holder::Person(user.id), self.max_streams)?;
        let refusal = self.refusal(user);
        let response = next.run(request).await;
        Ok(response.map(|body| Body::new(UserStreamBody::new(body, refusal, held))))
    }

    /// Opens a watch. The device is known when the handler has read the request; its older watch ends before the person's
    /// share is checked, so that a device that reconnects is never refused because of its own dead watch.
    async fn watch<C: Chain>(
        &self,
        part: &Part,
        user: User,
        request: Request,
        next: Next<C>,
    ) -> Result<Response, Failure> {
        let response = next.run(request).await;
        if status::of(response.headers()).is_some() {
            // The call failed, and is no watch.
            return Ok(response);
        }
        let take = || part.count_for(Holder::Person(user.id), self.max_streams);
        let Some(WatchKey(key)) = response.extensions().get::<WatchKey>().copied() else {
            let (held, refusal) = (take()?, self.refusal(user));
            return Ok(response.map(|body| Body::new(UserStreamBody::new(body, refusal, held))));
        };
        let watch = self.watches.replace((user.id, key), take)?;
        let (ended, refused) = (watch.ended.clone(), self.refusal(user));
        let refusal = async move {
            tokio::select! {
                () = ended.cancelled_owned() => Failure::new(Reason::Cancelled)
                    .metadata("cause", "REPLACED".to_owned()),
                refusal = refused => refusal,
            }
        };
        Ok(response.map(|body| Body::new(UserStreamBody::new(body, refusal.boxed(), watch))))
    }

    /// Returns when a new call of `user` would be refused.
    fn refusal(&self, user: User) -> BoxFuture<'static, Failure> {
        let verifier = Arc::clone(&self.verifier);
        Box::pin(async move { verifier.refusal(user).await })
    }
}

/// The watches of devices: at most one for each.
#[derive(Clone, Default)]
struct KeyedWatches(Arc<WatchTable>);

#[derive(Default)]
struct WatchTable {
    open: Mutex<HashMap<(UserId, Uuid), OpenWatch>>,
    next: AtomicU64,
}

struct OpenWatch {
    number: u64,
    ended: CancellationToken,
    /// The count of the person's places, which passes to the watch that replaces this one.
    held: Place<Holder>,
}

impl KeyedWatches {
    /// Opens a watch, with what `take` returns. It ends the device's older watch and has its place then, so that a device that
    /// reconnects is not refused.
    fn replace<E>(
        &self,
        key: (UserId, Uuid),
        take: impl FnOnce() -> Result<Place<Holder>, E>,
    ) -> Result<WatchGuard, E> {
        let mut open = self.open();
        let held = match open.remove(&key) {
            Some(older) => {
                older.ended.cancel();
                older.held
            }
            None => take()?,
        };
        let watch = OpenWatch {
            number: self.0.next.fetch_add(1, Ordering::Relaxed),
            ended: CancellationToken::new(),
            held,
        };
        let guard = WatchGuard {
            watches: self.clone(),
            key,
            number: watch.number,
            ended: watch.ended.clone(),
        };
        open.insert(key, watch);
        Ok(guard)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<(UserId, Uuid), OpenWatch>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a device's watch when it ends, unless a newer one replaced it.
struct WatchGuard {
    watches: KeyedWatches,
    key: (UserId, Uuid),
    number: u64,
    ended: CancellationToken,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        let mut open = self.watches.open();
        if open
            .get(&self.key)
            .is_some_and(|watch| watch.number == self.number)
        {
            open.remove(&self.key);
        }
    }
}

/// A user's stream, which ends with a status when a new call of the user would be refused. It holds `H` until then.
struct UserStreamBody<H> {
    /// `None` after the final status.
    body: Option<Body>,
    refusal: BoxFuture<'static, Failure>,
    _held: H,
}

impl<H> UserStreamBody<H> {
    fn new(body: Body, refusal: BoxFuture<'static, Failure>, held: H) -> Self {
        Self {
            body: Some(body),
            refusal,
            _held: held,
        }
    }
}

impl<H: Unpin> http_body::Body for UserStreamBody<H> {
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
    use super::{
        super::places::{Fraction, NoPlace, Places},
        *,
    };

    const MAX: usize = 3;

    #[test]
    fn a_client_at_the_limit_replaces_its_own_watch_and_no_other() {
        let places = Places::new(16);
        let watches = KeyedWatches::default();
        let [ada, laptop, phone, tablet, watch] = [1, 2, 3, 4, 5].map(Uuid::from_u128);
        let ada = UserId::new(ada);
        let open = |key: Uuid| {
            watches.replace((ada, key), || {
                places.count_for(Holder::Person(ada), Fraction(8), MAX)
            })
        };
        let first = [laptop, phone, tablet].map(|key| open(key).unwrap());
        assert!(matches!(open(watch).map(drop), Err(NoPlace::Holder(_))));
        let again = open(phone).unwrap();
        assert_eq!(
            first.each_ref().map(|watch| watch.ended.is_cancelled()),
            [false, true, false]
        );
        // The end of the replaced watch does not end the new one, nor free its place.
        drop(first);
        assert_eq!(watches.open().len(), 1);
        assert!(!again.ended.is_cancelled());
        drop(again);
        assert!(watches.open().is_empty());
        let all = [laptop, phone, tablet].map(|key| open(key).unwrap());
        assert!(open(watch).is_err());
        drop(all);
    }
}
