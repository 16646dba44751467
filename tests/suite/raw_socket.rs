//! Connections that no gRPC client would make: bytes on a socket, with or without TLS, and hand-made HTTP/2 frames.

use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};

use haven_testkit::certificates::Certificates;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Connection preface of an HTTP/2 client (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Limit for the server to close the connection: shorter than its handshake timeout.
const LONG_TIMEOUT: Duration = Duration::from_secs(8);

/// Frame types (RFC 9113, section 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// `END_STREAM | END_HEADERS`: flags of a request without a body.
pub(crate) const WHOLE: u8 = 0x5;

/// Opens a plain TCP connection to a port on loopback.
pub(crate) async fn tcp(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// Opens a TLS connection to the server `name`, offering `protocols` (ALPN) and no client certificate.
pub(crate) async fn tls(
    certificates: &Certificates,
    port: u16,
    name: &str,
    protocols: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    tls_over(certificates, tcp(port).await, name, protocols).await
}

/// Opens a TLS connection from the address 127.0.0.`network`, a network of its own, and offers HTTP/2.
pub(crate) async fn tls_from(
    certificates: &Certificates,
    port: u16,
    network: u8,
) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, 0, network), 0).into())?;
    let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
    tls_over(certificates, stream, "localhost", &["h2"]).await
}

/// Performs the TLS handshake of [`tls`] on an open connection.
pub(crate) async fn tls_over(
    certificates: &Certificates,
    stream: TcpStream,
    name: &str,
    protocols: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let pem = std::fs::read(certificates.authority())?;
    for authority in PemObject::pem_slice_iter(&pem) {
        roots.add(authority.unwrap()).unwrap();
    }
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Sends `bytes`, and reads until the server closes the connection. Panics after eight seconds.
pub(crate) async fn exchange(stream: impl AsyncRead + AsyncWrite, bytes: &[u8]) -> Vec<u8> {
    let (mut incoming, mut outgoing) = split(stream);
    let mut answer = Vec::new();
    let send = async {
        // The server may close before everything is written.
        let _ = outgoing.write_all(bytes).await;
        let _ = outgoing.flush().await;
    };
    // A reset closes the connection as well.
    let receive = async { drop(incoming.read_to_end(&mut answer).await) };
    let both = async { tokio::join!(send, receive) };
    timeout(LONG_TIMEOUT, both)
        .await
        .expect("the connection is still open");
    answer
}

/// Encodes an HTTP/2 frame (RFC 9113, section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Decodes the HTTP/2 frames in `bytes` into pairs of type and payload. Ignores an incomplete last frame.
pub(crate) fn frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some((payload, rest)) = rest.split_at_checked(length) else {
            break;
        };
        frames.push((head[3], payload.to_vec()));
        bytes = rest;
    }
    frames
}

/// Returns the connection preface and an empty SETTINGS frame: enough to open a connection.
pub(crate) fn opening() -> Vec<u8> {
    [PREFACE, &frame(kind::SETTINGS, 0, 0, &[])].concat()
}

/// Encodes header fields as literals without indexing and without Huffman coding (RFC 7541, section 6.2.2).
pub(crate) fn header_block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.extend(length(text.len()));
            block.extend(text.as_bytes());
        }
    }
    block
}

/// Encodes an integer with a prefix of seven bits (RFC 7541, section 5.1).
fn length(length: usize) -> Vec<u8> {
    if length < 127 {
        return vec![length as u8];
    }
    let (mut bytes, mut rest) = (vec![127], length - 127);
    while rest >= 128 {
        bytes.push(rest as u8 | 128);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}
