//! The health service (`grpc.health.v1`): the empty name stands for the process, which is alive; a service's full name
//! for the service, which is ready.

use std::{collections::BTreeMap, fmt};

use futures_util::{StreamExt, stream, stream::BoxStream};
use haven_proto::health::v1::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus,
    health_server::{Health as HealthApi, HealthServer},
};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use super::limits::Limits;
use crate::{failure::Failure, reason::Reason};

/// The maximum size of a request to the health service and to reflection, and of an answer about health, in bytes.
pub(super) const MAX_QUERY_BYTES: usize = 4 * 1024;

/// The name of the process.
const PROCESS: &str = "";

/// The statuses that probes receive. All are NOT_SERVING at first.
#[derive(Clone)]
pub struct Health(watch::Sender<State>);

#[derive(Default)]
struct State {
    /// The statuses of the process and of the services, by name.
    statuses: BTreeMap<&'static str, ServingStatus>,
    is_stopping: bool,
}

impl State {
    /// Sets the statuses of the services. Returns whether one of them changed.
    fn set_services(&mut self, status: ServingStatus) -> bool {
        let mut changed = false;
        for (name, current) in &mut self.statuses {
            if *name != PROCESS && *current != status {
                *current = status;
                changed = true;
            }
        }
        changed
    }
}

impl Health {
    pub(super) fn new() -> Self {
        let mut state = State::default();
        state.statuses.insert(PROCESS, ServingStatus::NotServing);
        Self(watch::Sender::new(state))
    }

    pub(super) fn register(&self, service: &'static str) {
        self.0.send_modify(|state| {
            state.statuses.insert(service, ServingStatus::NotServing);
        });
    }

    /// Returns the service for the API, whose watches end when the server stops: they would hold up its end.
    pub(super) fn service(&self) -> HealthServer<impl HealthApi + use<>> {
        self.serving(true)
    }

    fn serving(&self, ends_with_server: bool) -> HealthServer<HealthRpc> {
        let rpc = HealthRpc {
            health: self.clone(),
            ends_with_server,
        };
        crate::grpc_server!(
            HealthServer::new(rpc),
            Limits {
                request: MAX_QUERY_BYTES,
                response: MAX_QUERY_BYTES,
            }
        )
    }

    /// Sets all statuses to NOT_SERVING.
    pub async fn begin(&self) {
        self.set_process(ServingStatus::NotServing);
        self.ready(false).await;
    }

    /// Sets the status of the process to SERVING.
    pub async fn alive(&self) {
        self.set_process(ServingStatus::Serving);
    }

    fn set_process(&self, status: ServingStatus) {
        self.0
            .send_if_modified(|state| state.statuses.insert(PROCESS, status) != Some(status));
    }

    /// Sets the status of all services, and the metric `haven_ready`.
    pub async fn ready(&self, ready: bool) {
        metrics::gauge!("haven_ready").set(if ready { 1.0 } else { 0.0 });
        let status = if ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        self.0.send_if_modified(|state| state.set_services(status));
    }

    /// Sets the services to NOT_SERVING, and ends the watches of the API. The process stays SERVING: killing it now would only
    /// cut off calls in flight.
    pub(super) async fn stop(&self) {
        self.ready(false).await;
        self.0.send_modify(|state| state.is_stopping = true);
    }

    /// Serves the health service alone, in plain text, until the future is dropped: also while the rest of the server
    /// stops.
    ///
    /// # Errors
    ///
    /// An error when the listener fails.
    pub async fn serve(self, listener: TcpListener) -> Result<(), tonic::transport::Error> {
        Server::builder()
            .add_service(self.serving(false))
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("statuses", &self.0.borrow().statuses)
            .finish_non_exhaustive()
    }
}

/// The handlers.
struct HealthRpc {
    health: Health,
    ends_with_server: bool,
}

#[tonic::async_trait]
impl HealthApi for HealthRpc {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let state = self.health.0.borrow();
        match state.statuses.get(request.get_ref().service.as_str()) {
            Some(status) => Ok(Response::new(message(*status))),
            None => Err(Failure::new(Reason::NotFound).into()),
        }
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let state = self.health.0.borrow();
        let statuses = state.statuses.iter();
        Ok(Response::new(HealthListResponse {
            statuses: statuses
                .map(|(name, status)| ((*name).to_owned(), message(*status)))
                .collect(),
        }))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watched = Watched {
            states: self.health.0.subscribe(),
            service: request.into_inner().service,
            sent: None,
            ends_with_server: self.ends_with_server,
        };
        Ok(Response::new(
            stream::unfold(Some(watched), Watched::next).boxed(),
        ))
    }
}

/// An open watch.
struct Watched {
    states: watch::Receiver<State>,
    service: String,
    /// The status that was sent last.
    sent: Option<ServingStatus>,
    ends_with_server: bool,
}

impl Watched {
    /// Waits for the next status that differs from the one that was sent. `None` when the watch is over.
    async fn next(watched: Option<Self>) -> Option<(Result<HealthCheckResponse, Status>, Option<Self>)> {
        let mut watched = watched?;
        loop {
            let (status, is_stopping) = {
                let state = watched.states.borrow_and_update();
                let status = state.statuses.get(watched.service.as_str()).copied();
                (status.unwrap_or(ServingStatus::ServiceUnknown), state.is_stopping)
            };
            if watched.sent != Some(status) {
                watched.sent = Some(status);
                return Some((Ok(message(status)), Some(watched)));
            }
            if is_stopping && watched.ends_with_server {
                return Some((Err(Failure::new(Reason::Draining).into()), None));
            }
            watched.states.changed().await.ok()?;
        }
    }
}

fn message(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opens a watch of `service`.
    async fn watch(
        health: &Health,
        service: &str,
        ends_with_server: bool,
    ) -> BoxStream<'static, Result<HealthCheckResponse, Status>> {
        let rpc = HealthRpc {
            health: health.clone(),
            ends_with_server,
        };
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        rpc.watch(Request::new(request)).await.unwrap().into_inner()
    }

    async fn next(
        watch: &mut BoxStream<'static, Result<HealthCheckResponse, Status>>,
    ) -> Option<ServingStatus> {
        tokio::time::timeout(std::time::Duration::from_secs(5), watch.next())
            .await
            .expect("the watch sends nothing")
            .map(|answer| answer.unwrap().status())
    }

    #[tokio::test]
    async fn a_watch_of_an_unknown_service_sees_it_become_known() {
        let health = Health::new();
        let mut late = watch(&health, "a.Late", true).await;
        assert_eq!(next(&mut late).await, Some(ServingStatus::ServiceUnknown));
        health.register("another.Service");
        health.register("a.Late");
        assert_eq!(next(&mut late).await, Some(ServingStatus::NotServing));
        // A status that is set again is not sent again.
        health.ready(false).await;
        health.ready(true).await;
        assert_eq!(next(&mut late).await, Some(ServingStatus::Serving));
    }

    #[tokio::test]
    async fn only_the_watches_of_the_api_end_with_the_server() {
        let health = Health::new();
        health.register("a.Service");
        health.ready(true).await;
        let mut api = watch(&health, "a.Service", true).await;
        let mut probe = watch(&health, "a.Service", false).await;
        for watch in [&mut api, &mut probe] {
            assert_eq!(next(watch).await, Some(ServingStatus::Serving));
        }
        health.stop().await;
        for watch in [&mut api, &mut probe] {
            assert_eq!(next(watch).await, Some(ServingStatus::NotServing));
        }
        let end = api.next().await.unwrap().unwrap_err();
        assert_eq!(end.code(), tonic::Code::Unavailable);
        assert!(api.next().await.is_none());
        health.ready(true).await;
        assert_eq!(next(&mut probe).await, Some(ServingStatus::Serving));
    }
}
