//! gRPC clients for other services.

use std::{io, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::rt::TokioIo;
use opentelemetry::propagation::{Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::{
    Request,
    metadata::{MetadataKey, MetadataMap, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{deadline::Deadline, tls::Tls, trace_context};

/// Returns a channel to the service at `url` (`https://host:port`), authenticated by our client certificate.
///
/// The channel connects on first use, and reconnects whenever the connection is lost, with the certificate that is
/// current then.
///
/// # Errors
///
/// [`ChannelError`] when the URL has no host or is not `https`.
pub fn channel(url: &Uri, tls: Arc<Tls>) -> Result<Channel, ChannelError> {
    let name = check(url)?;
    let host = url.host().ok_or(ChannelError)?;
    let address = format!("{host}:{}", url.port_u16().unwrap_or(443));
    // An `https` URL would enable tonic's own TLS, which cannot change certificates; our connector does TLS instead.
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| ChannelError)?;
    let endpoint = endpoint
        .origin(url.clone())
        .http2_keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(5))
        .keep_alive_while_idle(true);
    let connector = tower::service_fn(move |_: Uri| {
        let (tls, name, address) = (Arc::clone(&tls), name.clone(), address.clone());
        async move {
            let connect = async {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                TlsConnector::from(tls.client()).connect(name, stream).await
            };
            let stream = tokio::time::timeout(CONNECT_TIMEOUT, connect)
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok::<_, io::Error>(TokioIo::new(stream))
        }
    });
    Ok(endpoint.connect_with_connector_lazy(connector))
}

/// Checks `url` and returns the name that the server's certificate must have.
pub(crate) fn check(url: &Uri) -> Result<ServerName<'static>, ChannelError> {
    let host = url
        .host()
        .filter(|_| url.scheme_str() == Some("https"))
        .ok_or(ChannelError)?;
    ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|_| ChannelError)
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The URL of a service is not of the required form.
#[derive(Debug, thiserror::Error)]
#[error("must be https://host:port")]
pub struct ChannelError;

/// Returns a request with `message`, the remaining time until `deadline` as its timeout, and the current trace context
/// (W3C Trace Context).
pub fn outgoing<T>(message: T, deadline: Deadline) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline.remaining());
    TraceContextPropagator::new().inject_context(
        &trace_context::current(),
        &mut OutgoingMetadata(request.metadata_mut()),
    );
    request
}

struct OutgoingMetadata<'a>(&'a mut MetadataMap);

impl Injector for OutgoingMetadata<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(key), Ok(value)) = (
            MetadataKey::from_bytes(key.as_bytes()),
            MetadataValue::try_from(value),
        ) {
            self.0.insert(key, value);
        }
    }
}
