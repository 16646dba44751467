//! The chain of the layers. Each layer is a function that gets its state, the request, and the rest of the chain.
//!
//! It is what axum's `from_fn` does, with futures of known types: a call allocates one future for the whole chain instead of
//! one for each layer, and the services behind a layer are shared instead of cloned.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response, routing::Route};
use futures_util::{FutureExt, future::Map};
use tower::Service;

/// A layer with all that is behind it, or the routes.
pub(super) trait Chain: Send + Sync + 'static {
    type Answer: Future<Output = Response> + Send + 'static;

    fn answer(&self, request: Request) -> Self::Answer;
}

/// The rest of the chain.
pub(super) struct Next<C>(Arc<C>);

/// A layer: a function, its state, and the rest of the chain.
pub(super) struct Layer<S, F, C> {
    state: S,
    function: F,
    next: Arc<C>,
}

/// The end of the chain: what the router has for a path.
pub(super) struct End(Route);

/// The chain as a service.
pub(super) struct Entry<C>(Arc<C>);

impl<C: Chain> Next<C> {
    pub(super) fn run(self, request: Request) -> C::Answer {
        self.0.answer(request)
    }
}

impl<S, F, C> Layer<S, F, C> {
    pub(super) fn new(state: S, function: F, next: C) -> Self {
        Self {
            state,
            function,
            next: Arc::new(next),
        }
    }
}

impl<S, F, C, A> Chain for Layer<S, F, C>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S, Request, Next<C>) -> A + Send + Sync + 'static,
    C: Chain,
    A: Future<Output = Response> + Send + 'static,
{
    type Answer = A;

    fn answer(&self, request: Request) -> A {
        (self.function)(self.state.clone(), request, Next(Arc::clone(&self.next)))
    }
}

impl End {
    pub(super) fn new(route: Route) -> Self {
        Self(route)
    }
}

impl Chain for End {
    type Answer = Map<<Route as Service<Request>>::Future, fn(Result<Response, Infallible>) -> Response>;

    fn answer(&self, request: Request) -> Self::Answer {
        self.0.clone().call(request).map(|answered| match answered {
            Ok(response) => response,
            Err(never) => match never {},
        })
    }
}

impl<C> Entry<C> {
    pub(super) fn new(chain: C) -> Self {
        Self(Arc::new(chain))
    }
}

impl<C> Clone for Entry<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Chain> Service<Request> for Entry<C> {
    type Response = Response;
    type Error = Infallible;
    type Future = Map<C::Answer, fn(Response) -> Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.0.answer(request).map(Ok)
    }
}
