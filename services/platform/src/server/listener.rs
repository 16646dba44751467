//! Accepts TCP connections and performs their TLS handshakes.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;

use crate::tls::Tls;

/// The maximum time of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the connections that completed a handshake, until `stop` is cancelled. Each uses the certificate that is
/// current. Handshakes run concurrently, so a client that sends nothing does not delay other clients.
pub(super) fn accept_tls(
    listener: TcpListener,
    tls: Arc<Tls>,
    stop: CancellationToken,
) -> impl Stream<Item = Result<TlsStream<TcpStream>, io::Error>> {
    let (ready, connections) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(handshake(
                        stream,
                        TlsAcceptor::from(tls.server()),
                        ready.clone(),
                        stop.clone(),
                    ));
                }
                // Usually because all file descriptors are in use; some will be free again.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    ReceiverStream::new(connections)
}

async fn handshake(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    ready: mpsc::Sender<Result<TlsStream<TcpStream>, io::Error>>,
    stop: CancellationToken,
) {
    // Turns off Nagle's algorithm, which delays small responses.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match stop
        .run_until_cancelled(timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)))
        .await
    {
        Some(Ok(Ok(stream))) => {
            // There is no receiver while the server stops.
            let _ = ready.send(Ok(stream)).await;
        }
        Some(Ok(Err(error))) => {
            metrics::counter!("haven_tls_handshakes_failed_total").increment(1);
            tracing::debug!(%error, "TLS handshake failed");
        }
        Some(Err(_)) => metrics::counter!("haven_tls_handshakes_failed_total").increment(1),
        None => {}
    }
}
