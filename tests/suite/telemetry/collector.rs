//! Fixture: an OTLP collector that keeps the spans it receives.

use std::sync::{Arc, Mutex};

use haven_testkit::port::Port;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use prost::Message;
use tonic::{Request, Response, Status, transport::Server};

/// Collector that runs until the end of the test.
pub(super) struct Collector {
    received: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    port: Port,
}

impl Collector {
    /// Starts a collector on a free port.
    pub(super) fn start() -> Self {
        let port = Port::reserve().unwrap();
        let received = Arc::default();
        let service = TraceServiceServer::new(Recorder(Arc::clone(&received)));
        let address = ([127, 0, 0, 1], port.number()).into();
        tokio::spawn(Server::builder().add_service(service).serve(address));
        Self { received, port }
    }

    /// Returns the value of `OTLP_ENDPOINT`.
    pub(super) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// Returns the spans received so far, each with the name of the service that sent it.
    pub(super) fn spans(&self) -> Vec<(String, Span)> {
        let received = self.received.lock().unwrap();
        let mut spans = Vec::new();
        for resource in received.iter().flat_map(|request| &request.resource_spans) {
            let attributes = &resource.resource.as_ref().unwrap().attributes;
            let name = attributes
                .iter()
                .find(|attribute| attribute.key == "service.name");
            let value = name.and_then(|attribute| attribute.value.clone()?.value);
            let Some(Value::StringValue(service)) = value else {
                panic!("no service.name in {attributes:?}")
            };
            let received = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.extend(received.map(|span| (service.clone(), span.clone())));
        }
        spans
    }

    /// Returns all received requests as text: their encoded bytes and their debug format.
    pub(super) fn content(&self) -> String {
        let received = self.received.lock().unwrap();
        let bytes: Vec<u8> = received.iter().flat_map(Message::encode_to_vec).collect();
        format!("{} {received:?}", String::from_utf8_lossy(&bytes))
    }
}

/// Handler that stores the requests.
struct Recorder(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Recorder {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}
