//! Accepts TCP connections and performs their TLS handshakes, for as many clients at once as there are places.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connection, ConnectionHolder, ConnectionIo, service_of},
    places::{Fraction, NoPlace, Place, Places},
};
use crate::{network::Network, tls::Tls, trusted_proxies::TrustedProxies};

/// The maximum time of a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The handshakes that may be in progress at once: a quarter of the connections. One network can have half of them.
const HANDSHAKES: usize = 4;

/// The share of the free connections that one network may hold, one site of IPv6 networks, and one service or trusted proxy.
const NETWORK: Fraction = Fraction(8);
const SITE: Fraction = Fraction(16);
const SERVICE: Fraction = Fraction(32);
const PROXY: Fraction = SERVICE;

/// The number of the next connection.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// The state of a listener.
#[derive(Clone)]
struct Listener {
    tls: Arc<Tls>,
    /// Whether HTTP/1.1 is offered.
    http1: bool,
    proxies: TrustedProxies,
    handshakes: Places<ConnectionHolder>,
    connections: Places<ConnectionHolder>,
    ready: mpsc::Sender<Result<ConnectionIo, io::Error>>,
}

/// Returns the connections that completed a handshake, until `stop` is cancelled. Each uses the certificate that is
/// current. Handshakes run concurrently, so a client that sends nothing does not delay other clients. At most
/// `max_connections` are open. `http1` offers HTTP/1.1 beside HTTP/2.
pub(super) fn accept_tls(
    listener: TcpListener,
    tls: Arc<Tls>,
    http1: bool,
    proxies: TrustedProxies,
    max_connections: usize,
    stop: CancellationToken,
) -> impl Stream<Item = Result<ConnectionIo, io::Error>> {
    for cause in ["handshakes", "full", "share"] {
        metrics::counter!("haven_connections_refused_total", "cause" => cause).absolute(0);
    }
    for cause in ["no_preface", "unread", "resets"] {
        metrics::counter!("haven_connections_closed_total", "cause" => cause).absolute(0);
    }
    let (ready, connections) = mpsc::channel(64);
    let state = Listener {
        tls,
        http1,
        proxies,
        handshakes: Places::new((max_connections / HANDSHAKES).max(1)),
        connections: Places::new(max_connections),
        ready,
    };
    tokio::spawn(async move {
        while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
            match accepted {
                Ok((stream, peer)) => {
                    let holders = state.holders_of(peer.ip());
                    // The socket is closed at once: a refusal must cost less than a handshake.
                    let Ok(place) = state.handshakes.take(&holders) else {
                        refuse("handshakes");
                        continue;
                    };
                    tokio::spawn(state.clone().handshake(stream, peer, place, stop.clone()));
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

fn refuse(cause: &'static str) {
    metrics::counter!("haven_connections_refused_total", "cause" => cause).increment(1);
}

impl Listener {
    /// Returns the holders of a connection from `peer` without a listed certificate. A trusted proxy has the share of a service,
    /// because the people behind it share its connections.
    fn holders_of(&self, peer: IpAddr) -> Vec<(ConnectionHolder, Fraction)> {
        let network = Network::of(peer);
        if self.proxies.contains(peer) {
            return vec![(ConnectionHolder::Proxy(network), PROXY)];
        }
        let site = network.site().map(|site| (ConnectionHolder::Site(site), SITE));
        let network = (ConnectionHolder::Network(network), NETWORK);
        std::iter::once(network).chain(site).collect()
    }

    async fn handshake(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        handshake: Place<ConnectionHolder>,
        stop: CancellationToken,
    ) {
        // Turns off Nagle's algorithm, which delays small responses.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let tls = match self.http1 {
            true => self.tls.web_server(),
            false => self.tls.server(),
        };
        let acceptor = TlsAcceptor::from(tls);
        let shaken = stop
            .run_until_cancelled(timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)))
            .await;
        drop(handshake);
        let stream = match shaken {
            Some(Ok(Ok(stream))) => stream,
            Some(Ok(Err(error))) => {
                metrics::counter!("haven_tls_handshakes_failed_total").increment(1);
                tracing::debug!(%error, "TLS handshake failed");
                return;
            }
            Some(Err(_)) => {
                metrics::counter!("haven_tls_handshakes_failed_total").increment(1);
                return;
            }
            None => return,
        };
        let network = Network::of(peer.ip());
        let service = service_of(&stream, &self.tls);
        let holders = match &service {
            Some(service) => vec![(ConnectionHolder::Service(service.clone()), SERVICE)],
            None => self.holders_of(peer.ip()),
        };
        let place = match self.connections.take(&holders) {
            Ok(place) => place,
            Err(NoPlace::Full) => return refuse("full"),
            Err(NoPlace::Holder(_)) => return refuse("share"),
        };
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let connection = match service {
            None if self.proxies.contains(peer.ip()) => Connection::of_proxy(id, network),
            service => Connection::new(id, Some(network), service),
        };
        // There is no receiver while the server stops.
        let _ = self
            .ready
            .send(Ok(ConnectionIo::new(stream, connection, place)))
            .await;
    }
}
