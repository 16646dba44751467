//! A hostile client: hand-made HTTP/2 frames on a connection that it keeps open.

use std::time::Duration;

use haven_testkit::certificates::Certificates;
use prost::Message;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::raw_socket::{PREFACE, frame, header_block, kind, tls_from};

/// The flag END_STREAM of DATA.
const END_STREAM: u8 = 0x1;
/// The flag END_HEADERS of HEADERS.
const END_HEADERS: u8 = 0x4;
/// The flag ACK of PING and SETTINGS.
const ACK: u8 = 0x1;

/// An open connection. A task reads from it and answers pings, as a client that lives does.
pub(crate) struct Attacker {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    next_stream: u32,
    /// Ends when the server closes the connection. Returns the type of each frame that came.
    closed: JoinHandle<Vec<u8>>,
}

impl Attacker {
    /// Connects from 127.0.0.`network`. The window of each stream is `window` bytes.
    pub(crate) async fn connect(certificates: &Certificates, port: u16, network: u8, window: u32) -> Self {
        let (reading, mut writing) = split(tls_from(certificates, port, network).await.unwrap());
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        let opening = [PREFACE, &frame(kind::SETTINGS, 0, 0, &settings)].concat();
        writing.write_all(&opening).await.unwrap();
        let (frames, queue) = mpsc::unbounded_channel();
        tokio::spawn(write(writing, queue));
        Self {
            closed: tokio::spawn(read(reading, frames.clone())),
            frames,
            next_stream: 1,
        }
    }

    /// Begins a call, without its message.
    pub(crate) fn begin(&mut self, path: &str, token: &str) -> u32 {
        let authorization = format!("Bearer {token}");
        let mut fields = vec![
            (":method", "POST"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", path),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ];
        if !token.is_empty() {
            fields.push(("authorization", &authorization));
        }
        let stream = self.next_stream;
        self.next_stream += 2;
        self.send(frame(kind::HEADERS, END_HEADERS, stream, &header_block(&fields)));
        stream
    }

    /// Makes a call with an empty message.
    pub(crate) fn call(&mut self, path: &str, token: &str) {
        let stream = self.begin(path, token);
        self.send(frame(kind::DATA, END_STREAM, stream, &[0; 5]));
    }

    /// Makes a call with `message`.
    pub(crate) fn call_with(&mut self, path: &str, token: &str, message: &impl Message) {
        let stream = self.begin(path, token);
        let length = u32::try_from(message.encoded_len()).unwrap();
        let body = [&[0][..], &length.to_be_bytes(), &message.encode_to_vec()].concat();
        self.send(frame(kind::DATA, END_STREAM, stream, &body));
    }

    /// Begins a call and cancels it.
    pub(crate) fn cancel(&mut self, path: &str) {
        let stream = self.begin(path, "");
        self.send(frame(kind::RST_STREAM, 0, stream, &8u32.to_be_bytes()));
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_finished()
    }

    /// Waits until the server closes the connection. Returns the types of all frames.
    pub(crate) async fn closed(self, limit: Duration) -> Vec<u8> {
        let kinds = timeout(limit, self.closed).await;
        kinds.expect("the connection is still open").unwrap()
    }

    fn send(&self, frame: Vec<u8>) {
        // The server may have closed the connection.
        let _ = self.frames.send(frame);
    }
}

async fn write(mut writing: WriteHalf<TlsStream<TcpStream>>, mut queue: mpsc::UnboundedReceiver<Vec<u8>>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, 1000).await > 0 {
        if writing.write_all(&batch.concat()).await.is_err() || writing.flush().await.is_err() {
            return;
        }
        batch.clear();
    }
}

async fn read(
    mut reading: ReadHalf<TlsStream<TcpStream>>,
    frames: mpsc::UnboundedSender<Vec<u8>>,
) -> Vec<u8> {
    let mut kinds = Vec::new();
    let mut head = [0; 9];
    while reading.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if reading.read_exact(&mut payload).await.is_err() {
            break;
        }
        kinds.push(head[3]);
        let answer = match (head[3], head[4] & ACK) {
            (kind::PING, 0) => frame(kind::PING, ACK, 0, &payload),
            (kind::SETTINGS, 0) => frame(kind::SETTINGS, ACK, 0, &[]),
            _ => continue,
        };
        let _ = frames.send(answer);
    }
    kinds
}
