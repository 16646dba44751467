//! A TCP proxy in front of a server that counts round trips, or cuts the server off.
//!
//! It does not read the content, so it works with TLS. A round trip is data from the client, followed by data from the
//! server. It can also stop forwarding, as a network does that drops every packet.

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
    round_trips: Arc<AtomicU64>,
    is_cut: watch::Sender<bool>,
    task: JoinHandle<()>,
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
        let round_trips = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&round_trips);
        let (is_cut, cut) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(
                    client,
                    source,
                    (Ipv4Addr::LOCALHOST, upstream).into(),
                    Arc::clone(&counter),
                    cut.clone(),
                ));
            }
        });
        Ok(Self {
            port,
            round_trips,
            is_cut,
            task,
        })
    }

    /// Returns the port that the proxy listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the number of round trips since the start, over all connections.
    pub fn round_trips(&self) -> u64 {
        self.round_trips.load(SeqCst)
    }
}

/// A partition of the network.
impl Proxy {
    /// Stops forwarding in both directions, without closing a connection. New connections are accepted, and get no answer.
    pub fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    /// Forwards again, on open connections too.
    pub fn restore(&self) {
        self.is_cut.send_replace(false);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects a client to the server, and forwards data in both directions.
async fn connect(
    client: TcpStream,
    source: Ipv4Addr,
    upstream: SocketAddr,
    round_trips: Arc<AtomicU64>,
    mut cut: watch::Receiver<bool>,
) {
    whole(&mut cut).await;
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
    let pending = Arc::new(AtomicBool::new(false));
    let set_pending = Arc::clone(&pending);
    tokio::join!(
        forward(from_client, to_server, cut.clone(), move || set_pending
            .store(true, SeqCst)),
        forward(from_server, to_client, cut, move || {
            if pending.swap(false, SeqCst) {
                round_trips.fetch_add(1, SeqCst);
            }
        }),
    );
}

/// Forwards data until the end of `from`. Calls `on_data` before each write.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut cut: watch::Receiver<bool>,
    on_data: impl Fn(),
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        whole(&mut cut).await;
        // Before the write, so that a client that has received a response finds it counted.
        on_data();
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    whole(&mut cut).await;
    let _ = to.shutdown().await;
}

/// Waits until the proxy forwards.
async fn whole(cut: &mut watch::Receiver<bool>) {
    // The sender ends with the proxy, and open connections go on.
    let _ = cut.wait_for(|cut| !cut).await;
}
