//! Accepts connections and makes them TLS.

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

/// How long a client may take to shake hands.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Connections whose handshake is done, until `stop`. Each takes the certificate that is current; a client that
/// connects and says nothing holds up nobody.
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
                // Out of file descriptors, most likely: some will be free again.
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
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
    // Small answers must not wait for more of them (Nagle's algorithm).
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match stop
        .run_until_cancelled(timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)))
        .await
    {
        Some(Ok(Ok(stream))) => {
            // Nobody receives any more: the server is stopping.
            let _ = ready.send(Ok(stream)).await;
        }
        Some(Ok(Err(error))) => {
            metrics::counter!("haven_tls_handshakes_failed_total").increment(1);
            tracing::debug!(%error, "a TLS handshake failed");
        }
        Some(Err(_)) => metrics::counter!("haven_tls_handshakes_failed_total").increment(1),
        None => {}
    }
}
