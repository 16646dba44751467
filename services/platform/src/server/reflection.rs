//! The reflection services, which tools ask for the contract. Their descriptors take megabytes once they are decoded, so each
//! service is made when it is called for the first time, which in production is hardly ever.

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures_util::{
    FutureExt,
    future::{Either, Ready, ready},
};
use http::{Request, Response};
use tonic::{Status, body::Body, server::NamedService};
use tonic_reflection::server::{Builder, Error};
use tower::Service;

use super::limits::Limits;
use crate::failure::Failure;

/// The reflection services by name. They describe all services including themselves.
pub(super) const NAMES: [&str; 2] = [
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// What the reflection services describe: the names of the served services, and encoded `FileDescriptorSet`s.
#[derive(Clone)]
pub(super) struct Contract {
    pub(super) names: Vec<&'static str>,
    pub(super) descriptors: Vec<&'static [u8]>,
    pub(super) limits: Limits,
}

/// A gRPC service that `make` makes when it is called for the first time.
pub(super) struct Lazy<S, M> {
    make: Arc<M>,
    made: Arc<OnceLock<Option<S>>>,
}

impl Contract {
    /// Returns the service of version 1.
    pub(super) fn v1(self) -> impl ReflectionService {
        lazy(move || Ok(crate::grpc_server!(self.builder().build_v1()?, self.limits)))
    }

    /// Returns the service of the version before, which older tools ask.
    pub(super) fn v1alpha(self) -> impl ReflectionService {
        lazy(move || Ok(crate::grpc_server!(self.builder().build_v1alpha()?, self.limits)))
    }

    fn builder(&self) -> Builder<'static> {
        // It shows only the services of this server: the descriptors also contain those of others.
        let builder = self
            .names
            .iter()
            .chain(&NAMES)
            .fold(Builder::configure(), |builder, name| {
                builder.with_service_name(*name)
            });
        self.descriptors.iter().fold(builder, |builder, set| {
            builder.register_encoded_file_descriptor_set(set)
        })
    }
}

/// A gRPC service of this module.
pub(super) trait ReflectionService:
    Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> ReflectionService for S where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

fn lazy<S, M>(make: M) -> Lazy<S, M>
where
    M: Fn() -> Result<S, Error>,
{
    Lazy {
        make: Arc::new(make),
        made: Arc::new(OnceLock::new()),
    }
}

impl<S, M> Clone for Lazy<S, M> {
    fn clone(&self) -> Self {
        Self {
            make: Arc::clone(&self.make),
            made: Arc::clone(&self.made),
        }
    }
}

impl<S: NamedService, M> NamedService for Lazy<S, M> {
    const NAME: &'static str = S::NAME;
}

impl<S, M> Service<Request<Body>> for Lazy<S, M>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
    M: Fn() -> Result<S, Error>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Generated services are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let make = || match (self.make)() {
            Ok(service) => Some(service),
            // The table of access rules was read from the same descriptors, so that this is not expected.
            Err(error) => {
                tracing::error!(%error, "reflection cannot use the descriptors");
                None
            }
        };
        match self.made.get_or_init(make) {
            Some(service) => service.clone().call(request).left_future(),
            None => {
                let failure = Failure::internal("reflection cannot use the descriptors");
                ready(Ok(Status::from(failure).into_http())).right_future()
            }
        }
    }
}
