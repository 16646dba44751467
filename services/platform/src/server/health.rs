//! `grpc.health.v1`: the empty name says that the process is alive, a service's full name that it can serve.

use std::fmt;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthApi, HealthServer},
    server::{HealthReporter, HealthService},
};

/// What probes are told. Everything begins as NOT_SERVING.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    services: Vec<&'static str>,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            reporter: HealthReporter::new(),
            services: Vec::new(),
        }
    }

    pub(super) fn register(&mut self, service: &'static str) {
        self.services.push(service);
    }

    pub(super) fn service(&self) -> HealthServer<impl HealthApi + use<>> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Everything is NOT_SERVING: for the start.
    pub async fn begin(&self) {
        self.reporter
            .set_service_status("", ServingStatus::NotServing)
            .await;
        self.ready(false).await;
    }

    /// The process is alive.
    pub async fn alive(&self) {
        self.reporter.set_service_status("", ServingStatus::Serving).await;
    }

    /// Whether the services can serve.
    pub async fn ready(&self, ready: bool) {
        let status = if ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in &self.services {
            self.reporter.set_service_status(*service, status).await;
        }
    }

    /// Nothing serves any more, but the process is alive: killing it now would only cut off what is under way.
    pub(super) async fn stop(&self) {
        self.ready(false).await;
    }

    /// Serves health alone, in plain text, for as long as it is polled: also while the rest of the server stops.
    ///
    /// # Errors
    ///
    /// When serving fails as a whole.
    pub async fn serve(self, listener: TcpListener) -> Result<(), tonic::transport::Error> {
        Server::builder()
            .add_service(self.service())
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("services", &self.services)
            .finish_non_exhaustive()
    }
}
