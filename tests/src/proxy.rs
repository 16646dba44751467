//! A TCP proxy in front of a server that counts round trips, freezes connections, and cuts the server off.
//!
//! It does not read the content, so it works with TLS. A round trip is data from the client, followed by data from the
//! server.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// A running proxy. After it is dropped it accepts no more connections. Open connections end with the runtime.
pub struct Proxy {
    port: u16,
    connections: Arc<Connections>,
    task: JoinHandle<()>,
}

/// What the connections of a proxy share.
#[derive(Default)]
struct Connections {
    round_trips: AtomicU64,
    /// The number of connections so far.
    opened: AtomicU64,
    /// Connections with a lower number are frozen.
    frozen_below: AtomicU64,
    /// True while nothing passes on any connection.
    is_cut: watch::Sender<bool>,
}

impl Proxy {
    /// Starts a proxy for the server on port `upstream` of loopback.
    pub async fn start(upstream: u16) -> Result<Self> {
        Self::start_from(Ipv4Addr::LOCALHOST, upstream).await
    }

    /// Starts a proxy that connects to the server from the address `source`, which can be any of 127.0.0.0/8.
    pub async fn start_from(source: Ipv4Addr, upstream: u16) -> Result<Self> {
        // The kernel chooses the port, because it does not have to be known before.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let connections = Arc::new(Connections::default());
        let shared = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(
                    client,
                    source,
                    (Ipv4Addr::LOCALHOST, upstream).into(),
                    Arc::clone(&shared),
                ));
            }
        });
        Ok(Self {
            port,
            connections,
            task,
        })
    }

    /// Returns the port that the proxy listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the number of round trips since the start, over all connections.
    pub fn round_trips(&self) -> u64 {
        self.connections.round_trips.load(SeqCst)
    }

    /// Forwards nothing any more on the connections that are open now, and leaves them open: like a server that is stopped,
    /// or a network that drops packets. New connections work.
    pub fn freeze(&self) {
        let opened = self.connections.opened.load(SeqCst);
        self.connections.frozen_below.store(opened, SeqCst);
    }

    /// Forwards nothing on any connection until [`restore`](Self::restore), and closes none, as a network does that is split.
    /// New connections are accepted, and get no answer.
    pub fn cut(&self) {
        self.connections.is_cut.send_replace(true);
    }

    /// Forwards again, also on connections that were open before the cut.
    pub fn restore(&self) {
        self.connections.is_cut.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connections {
    /// Waits while the proxy is cut.
    async fn passes(&self) {
        // The sender is a field of this value, so the wait does not fail.
        let _ = self.is_cut.subscribe().wait_for(|cut| !cut).await;
    }
}

/// Connects a client to the server, and forwards data in both directions.
async fn connect(client: TcpStream, source: Ipv4Addr, upstream: SocketAddr, shared: Arc<Connections>) {
    let number = shared.opened.fetch_add(1, SeqCst);
    shared.passes().await;
    let socket = TcpSocket::new_v4().and_then(|socket| {
        socket.bind((source, 0).into())?;
        Ok(socket)
    });
    let Ok(socket) = socket else { return };
    let Ok(server) = socket.connect(upstream).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let pending = AtomicBool::new(false);
    let works = || number >= shared.frozen_below.load(SeqCst);
    tokio::join!(
        forward(&shared, from_client, to_server, || {
            pending.store(true, SeqCst);
            works()
        }),
        forward(&shared, from_server, to_client, || {
            if pending.swap(false, SeqCst) {
                shared.round_trips.fetch_add(1, SeqCst);
            }
            works()
        }),
    );
}

/// Forwards data until the end of `from`. Calls `on_data` before each write, and stops for ever when it returns false.
async fn forward(
    shared: &Connections,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    on_data: impl Fn() -> bool,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        shared.passes().await;
        // Before the write, so that a client that has received a response finds it counted.
        if !on_data() {
            std::future::pending::<()>().await;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    shared.passes().await;
    let _ = to.shutdown().await;
}
