//! A connection of the attacker: TLS, and hand-made HTTP/2 frames.

use std::{io, net::SocketAddr, time::Duration};

use haven_testkit::certificates::Certificates;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::raw_socket::{PREFACE, frame, header_block, kind, tls_over};

/// `END_HEADERS`: flags of a request with a body.
const END_HEADERS: u8 = 0x4;
/// `END_STREAM`, and `ACK` of SETTINGS and PING.
const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;

/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113, section 6.5.2) of zero: the server may send no data.
const NO_WINDOW: [u8; 6] = [0, 4, 0, 0, 0, 0];

/// The attacker's address.
pub(crate) const ADDRESS: [u8; 4] = [127, 0, 0, 66];

/// An open connection.
pub(crate) struct Connection {
    reader: ReadHalf<TlsStream<TcpStream>>,
    writer: WriteHalf<TlsStream<TcpStream>>,
    received: Vec<u8>,
    next_stream: u32,
}

/// Opens a TCP connection from the attacker's address.
pub(crate) async fn tcp(port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((ADDRESS, 0)))?;
    socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await
}

/// Opens a TLS connection from the attacker's address.
pub(crate) async fn tls(certificates: &Certificates, port: u16) -> io::Result<TlsStream<TcpStream>> {
    tls_over(certificates, tcp(port).await?, "localhost", &["h2"]).await
}

impl Connection {
    /// Opens a connection on which the server may send no data.
    pub(crate) async fn without_window(certificates: &Certificates, port: u16) -> io::Result<Self> {
        let (reader, mut writer) = split(tls(certificates, port).await?);
        let settings = frame(kind::SETTINGS, 0, 0, &NO_WINDOW);
        writer.write_all(&[PREFACE, &settings].concat()).await?;
        Ok(Self {
            reader,
            writer,
            received: Vec::new(),
            next_stream: 1,
        })
    }

    /// Sends the head of a request to `path`, and its whole body, if any. Returns the number of the stream.
    pub(crate) async fn request(
        &mut self,
        path: &str,
        token: Option<&str>,
        body: Option<&[u8]>,
    ) -> io::Result<u32> {
        let stream = self.next_stream;
        self.next_stream += 2;
        let mut frames = frame(kind::HEADERS, END_HEADERS, stream, &head(path, token));
        if let Some(body) = body {
            frames.extend(frame(kind::DATA, END_STREAM, stream, body));
        }
        self.send(&frames).await?;
        Ok(stream)
    }

    /// Sends `count` requests, each with its cancellation.
    pub(crate) async fn cancelled(&mut self, path: &str, count: u32) -> io::Result<()> {
        let head = head(path, None);
        let mut frames = Vec::new();
        for _ in 0..count {
            frames.extend(frame(kind::HEADERS, END_HEADERS, self.next_stream, &head));
            frames.extend(frame(kind::RST_STREAM, 0, self.next_stream, &8u32.to_be_bytes()));
            self.next_stream += 2;
        }
        self.send(&frames).await
    }

    /// Sends frames.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.writer.write_all(frames).await?;
        self.writer.flush().await
    }

    /// Answers pings and settings for a while, and reads nothing else. Fails when the server has closed the connection.
    pub(crate) async fn stay(&mut self, duration: Duration) -> io::Result<()> {
        let end = tokio::time::Instant::now() + duration;
        loop {
            let mut bytes = [0; 16 * 1024];
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            let Ok(read) = timeout(left, self.reader.read(&mut bytes)).await else {
                return Ok(());
            };
            let read = read?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(&bytes[..read]);
            self.acknowledge().await?;
        }
    }

    /// Acknowledges the pings and settings that have arrived completely.
    async fn acknowledge(&mut self) -> io::Result<()> {
        let mut answers = Vec::new();
        while let Some((head, rest)) = self.received.split_at_checked(9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let Some(payload) = rest.get(..length) else {
                break;
            };
            match (head[3], head[4] & ACK) {
                (kind::PING, 0) => answers.extend(frame(kind::PING, ACK, 0, payload)),
                (kind::SETTINGS, 0) => answers.extend(frame(kind::SETTINGS, ACK, 0, &[])),
                _ => {}
            }
            self.received.drain(..9 + length);
        }
        self.send(&answers).await
    }
}

/// Returns the header block of a gRPC request.
fn head(path: &str, token: Option<&str>) -> Vec<u8> {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut fields = vec![
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "60S"),
    ];
    if let Some(bearer) = &bearer {
        fields.push(("authorization", bearer));
    }
    header_block(&fields)
}
