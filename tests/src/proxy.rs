//! A TCP proxy in front of Postgres that counts round trips.
//!
//! It looks at no content, and therefore works through TLS: a round trip is anything that the client sends, followed by
//! anything that the server answers.

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
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// A running proxy. Dropping it takes no more connections; those which are open end with the runtime.
pub struct Proxy {
    port: u16,
    round_trips: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy for the server that listens on `upstream` of loopback.
    pub async fn start(upstream: u16) -> Result<Self> {
        // Nobody else has to know the port beforehand, so the kernel may choose it.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let round_trips = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&round_trips);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(
                    client,
                    (Ipv4Addr::LOCALHOST, upstream).into(),
                    Arc::clone(&counter),
                ));
            }
        });
        Ok(Self {
            port,
            round_trips,
            task,
        })
    }

    /// The port that the proxy listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many round trips there were so far, over all connections.
    pub fn round_trips(&self) -> u64 {
        self.round_trips.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(client: TcpStream, upstream: SocketAddr, round_trips: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asked = Arc::new(AtomicBool::new(false));
    let question = Arc::clone(&asked);
    tokio::join!(
        forward(from_client, to_server, move || question.store(true, SeqCst)),
        forward(from_server, to_client, move || {
            if asked.swap(false, SeqCst) {
                round_trips.fetch_add(1, SeqCst);
            }
        }),
    );
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, seen: impl Fn()) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        // Before it is passed on: whoever has received an answer finds it counted.
        seen();
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
