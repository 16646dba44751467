//! The health service (`grpc.health.v1`): the empty name stands for the process, which is alive; a service's full name
//! for the service, which is ready.

use std::fmt;

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_health::{
    ServingStatus,
    pb::health_server::{Health as HealthApi, HealthServer},
    server::{HealthReporter, HealthService},
};

/// The maximum size of a request to the health service and to reflection, and of an answer about health, in bytes.
pub(super) const MAX_QUERY_BYTES: usize = 4 * 1024;

/// The statuses that probes receive. All are NOT_SERVING at first.
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
        let service = HealthService::from_health_reporter(self.reporter.clone());
        HealthServer::new(service)
            .max_decoding_message_size(MAX_QUERY_BYTES)
            .max_encoding_message_size(MAX_QUERY_BYTES)
    }

    /// Sets all statuses to NOT_SERVING.
    pub async fn begin(&self) {
        self.reporter
            .set_service_status("", ServingStatus::NotServing)
            .await;
        self.ready(false).await;
    }

    /// Sets the status of the process to SERVING.
    pub async fn alive(&self) {
        self.reporter.set_service_status("", ServingStatus::Serving).await;
    }

    /// Sets the status of all services, and the metric `haven_ready`.
    pub async fn ready(&self, ready: bool) {
        metrics::gauge!("haven_ready").set(if ready { 1.0 } else { 0.0 });
        let status = if ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for service in &self.services {
            self.reporter.set_service_status(*service, status).await;
        }
    }

    /// Sets the services to NOT_SERVING. The process stays SERVING: killing it now would only cut off calls in flight.
    pub(super) async fn stop(&self) {
        self.ready(false).await;
    }

    /// Serves the health service alone, in plain text, until the future is dropped: also while the rest of the server
    /// stops.
    ///
    /// # Errors
    ///
    /// An error when the listener fails.
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
