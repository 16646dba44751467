//! A receiver of Alertmanager's notifications, as a webhook.

use std::sync::{Arc, Mutex};

use haven_testkit::port::Port;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A running receiver. Dropping it ends it.
pub(super) struct Receiver {
    port: Port,
    received: Arc<Mutex<Vec<Notification>>>,
    task: JoinHandle<()>,
}

/// A notification: the path that it was sent to, and its body.
#[derive(Clone, Debug)]
pub(super) struct Notification {
    pub(super) path: String,
    pub(super) body: Value,
}

impl Receiver {
    pub(super) async fn start() -> Self {
        let port = Port::reserve().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port.number())).await.unwrap();
        let received = Arc::<Mutex<Vec<Notification>>>::default();
        let all = Arc::clone(&received);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Some(notification) = receive(stream).await {
                    all.lock().unwrap().push(notification);
                }
            }
        });
        Self { port, received, task }
    }

    pub(super) fn port(&self) -> u16 {
        self.port.number()
    }

    /// Returns whether a notification with `status` about the alert `name` was sent to `path`.
    pub(super) fn has(&self, path: &str, status: &str, name: &str) -> bool {
        let received = self.received.lock().unwrap();
        received.iter().any(|one| {
            one.path == path && one.body["status"] == status && one.body["groupLabels"]["alertname"] == name
        })
    }

    /// Returns all notifications so far.
    pub(super) fn all(&self) -> Vec<Notification> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one request and answers it. `None` when the sender went away.
async fn receive(mut stream: TcpStream) -> Option<Notification> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        // Alertmanager sends a body of known length.
        let Ok(body) = serde_json::from_str(body) else {
            continue;
        };
        let path = head.split(' ').nth(1)?.to_owned();
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.ok()?;
        return Some(Notification { path, body });
    }
}
