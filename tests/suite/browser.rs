//! A browser with a page that calls in gRPC-Web, over HTTP/2 or HTTP/1.1. It shares no code with the server's translation.

use std::{net::Ipv4Addr, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{Buf, Bytes, BytesMut};
use haven_testkit::certificates::Certificates;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, response::Parts};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::Status;

use crate::raw_call::prefixed;

/// The origin of the page, which tests list.
pub(crate) const ORIGIN: &str = "https://app.example.org";

/// The version of HTTP that a browser speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

impl Http {
    pub(crate) const BOTH: [Self; 2] = [Self::One, Self::Two];
}

/// A browser. Each request has a connection of its own.
#[derive(Clone)]
pub(crate) struct Browser {
    /// `None` without TLS.
    certificates: Option<Certificates>,
    port: u16,
    pub(crate) http: Http,
    /// The origin of the page; `None` for a client that is no browser.
    pub(crate) origin: Option<&'static str>,
    pub(crate) content_type: &'static str,
    /// The service with a certificate that is installed in the browser.
    pub(crate) certificate: Option<&'static str>,
    /// The browser calls from 127.0.0.`network`.
    pub(crate) network: u8,
    /// The size of the socket's buffer for what it receives; `None` for that of the system.
    pub(crate) receive_buffer: Option<u32>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Parts,
    pub(crate) messages: Vec<Bytes>,
    trailers: Option<HeaderMap>,
}

/// An answer that is being read, frame by frame.
pub(crate) struct OpenAnswer {
    pub(crate) head: Parts,
    body: Incoming,
    is_text: bool,
    undecoded: BytesMut,
    decoded: BytesMut,
    _sender: Sender,
}

/// A frame of gRPC-Web.
#[derive(Debug)]
pub(crate) enum Frame {
    Message(Bytes),
    Trailers(HeaderMap),
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Browser {
    /// Creates a browser with a page of [`ORIGIN`] that calls the server on `port`.
    pub(crate) fn new(certificates: &Certificates, port: u16, http: Http) -> Self {
        Self {
            certificates: Some(certificates.clone()),
            ..Self::without_tls(port, http)
        }
    }

    /// Creates a browser with a page of [`ORIGIN`] that calls the server on `port` without TLS.
    pub(crate) fn without_tls(port: u16, http: Http) -> Self {
        Self {
            certificates: None,
            port,
            http,
            origin: Some(ORIGIN),
            content_type: "application/grpc-web+proto",
            certificate: None,
            network: 1,
            receive_buffer: None,
        }
    }

    /// Opens a connection with TLS.
    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        let certificates = self.certificates.as_ref().expect("a browser with TLS");
        let mut roots = RootCertStore::empty();
        let pem = std::fs::read(certificates.authority()).unwrap();
        for authority in CertificateDer::pem_slice_iter(&pem) {
            roots.add(authority.unwrap()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.certificate {
            None => config.with_no_client_auth(),
            Some(name) => {
                let leaf = certificates.leaf(name);
                let chain = CertificateDer::pem_file_iter(leaf.certificate).unwrap();
                let chain = chain.map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_file(leaf.key).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![match self.http {
            Http::One => b"http/1.1".to_vec(),
            Http::Two => b"h2".to_vec(),
        }];
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, self.socket().await)
            .await
            .unwrap()
    }

    async fn socket(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        if let Some(size) = self.receive_buffer {
            socket.set_recv_buffer_size(size).unwrap();
        }
        socket
            .bind((Ipv4Addr::new(127, 0, 0, self.network), 0).into())
            .unwrap();
        socket
            .connect((Ipv4Addr::LOCALHOST, self.port).into())
            .await
            .unwrap()
    }

    async fn sender(&self) -> Sender {
        match self.certificates {
            Some(_) => self.sender_on(self.connect().await).await,
            None => self.sender_on(self.socket().await).await,
        }
    }

    async fn sender_on(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Sender {
        let stream = TokioIo::new(stream);
        match self.http {
            Http::One => {
                let (sender, connection) = http1::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                Sender::One(sender)
            }
            Http::Two => {
                let handshake = http2::Builder::new(TokioExecutor::new()).handshake(stream);
                let (sender, connection) = handshake.await.unwrap();
                tokio::spawn(connection);
                Sender::Two(sender)
            }
        }
    }

    /// Returns a request as the page's client makes it, without a body.
    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> http::request::Builder {
        let address = match self.http {
            Http::One => path.to_owned(),
            Http::Two => format!("https://localhost{path}"),
        };
        let mut request = Request::builder().method(method).uri(address);
        if self.http == Http::One {
            request = request.header("host", "localhost");
        }
        if let Some(origin) = self.origin {
            request = request.header("origin", origin);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
    }

    /// Sends any request. Returns the head and the bytes of the answer.
    pub(crate) async fn send(&self, request: Request<Vec<u8>>) -> (Parts, Bytes) {
        let (answer, _sender) = self.begin(request).await;
        let (head, body) = answer.into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    }

    async fn begin(&self, request: Request<Vec<u8>>) -> (Response<Incoming>, Sender) {
        let request = request.map(|body| Full::new(Bytes::from(body)));
        let mut sender = self.sender().await;
        let answer = match &mut sender {
            Sender::One(sender) => sender.send_request(request).await,
            Sender::Two(sender) => sender.send_request(request).await,
        };
        let answer = answer.unwrap_or_else(|error| panic!("no answer over {:?}: {error:?}", self.http));
        (answer, sender)
    }

    /// Asks whether a page may make a request with these headers.
    pub(crate) async fn preflight(&self, path: &str, method: &str, headers: &str) -> (Parts, Bytes) {
        let asked = [
            ("access-control-request-method", method),
            ("access-control-request-headers", headers),
        ];
        self.send(self.request("OPTIONS", path, &asked).body(Vec::new()).unwrap())
            .await
    }

    /// Makes a call, and returns its answer as soon as its head is there.
    pub(crate) async fn open(&self, path: &str, headers: &[(&str, &str)], message: &[u8]) -> OpenAnswer {
        let is_text = self.content_type.contains("-text");
        let mut body = prefixed(0, message.len(), message);
        if is_text {
            body = STANDARD.encode(body).into_bytes();
        }
        let mut request = self
            .request("POST", path, headers)
            .header("content-type", self.content_type)
            .header("x-grpc-web", "1")
            .header("x-user-agent", "connect-es/2.3.0");
        if is_text {
            request = request.header("accept", self.content_type);
        }
        let (answer, sender) = self.begin(request.body(body).unwrap()).await;
        let (head, body) = answer.into_parts();
        OpenAnswer {
            head,
            body,
            is_text,
            undecoded: BytesMut::new(),
            decoded: BytesMut::new(),
            _sender: sender,
        }
    }

    /// Makes a call, and reads its whole answer.
    pub(crate) async fn call(&self, path: &str, headers: &[(&str, &str)], message: &[u8]) -> Answer {
        self.open(path, headers, message).await.whole().await
    }
}

impl OpenAnswer {
    /// Returns the next frame as soon as it is there; `None` at the end of the answer.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.parsed() {
                return Some(frame);
            }
            let Some(read) = self.body.frame().await else {
                assert!(
                    self.decoded.is_empty() && self.undecoded.is_empty(),
                    "a torn frame"
                );
                return None;
            };
            // gRPC-Web has no trailers of HTTP.
            let data = read.unwrap().into_data().expect("trailers of HTTP");
            if !self.is_text {
                self.decoded.extend_from_slice(&data);
                continue;
            }
            self.undecoded.extend_from_slice(&data);
            // Each part that the server sends has a padding of its own.
            while self.undecoded.len() >= 4 {
                let four = self.undecoded.split_to(4);
                self.decoded.extend(STANDARD.decode(four).unwrap());
            }
        }
    }

    fn parsed(&mut self) -> Option<Frame> {
        let prefix: [u8; 5] = self.decoded.get(..5)?.try_into().unwrap();
        let length = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
        if self.decoded.len() < 5 + length {
            return None;
        }
        self.decoded.advance(5);
        let content = self.decoded.split_to(length).freeze();
        match prefix[0] {
            0 => Some(Frame::Message(content)),
            0x80 => Some(Frame::Trailers(trailers(&content))),
            flag => panic!("a frame with the flag {flag}"),
        }
    }

    /// Returns the next message. Panics when the answer ends.
    pub(crate) async fn message(&mut self) -> Bytes {
        match self.next().await {
            Some(Frame::Message(message)) => message,
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// Reads the rest.
    pub(crate) async fn whole(mut self) -> Answer {
        let (mut messages, mut trailers) = (Vec::new(), None);
        while let Some(frame) = self.next().await {
            assert!(trailers.is_none(), "a frame after the trailers");
            match frame {
                Frame::Message(message) => messages.push(message),
                Frame::Trailers(read) => trailers = Some(read),
            }
        }
        Answer {
            head: self.head,
            messages,
            trailers,
        }
    }
}

impl Answer {
    /// Returns the only message. Panics when the call failed.
    pub(crate) fn message<M: prost::Message + Default>(&self) -> M {
        let status = self.status();
        assert_eq!(status.code(), tonic::Code::Ok, "{status:?}");
        assert_eq!(self.messages.len(), 1);
        M::decode(self.messages[0].clone()).unwrap()
    }

    /// Returns the status, as a page reads it: from the trailers in the body, or from exposed headers.
    pub(crate) fn status(&self) -> Status {
        let headers = self.trailers.as_ref().unwrap_or(&self.head.headers);
        let status = Status::from_header_map(headers).unwrap_or_else(|| panic!("no status in {self:?}"));
        if self.trailers.is_none() {
            let exposed = header(&self.head, "access-control-expose-headers");
            for name in headers.keys().map(HeaderName::as_str) {
                let must_be_exposed = name.starts_with("grpc-");
                assert!(
                    !must_be_exposed || exposed.contains(name),
                    "{name} is not exposed"
                );
            }
        }
        status
    }
}

/// Returns the header `name` of an answer, or an empty text.
pub(crate) fn header<'a>(head: &'a Parts, name: &str) -> &'a str {
    head.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn trailers(content: &[u8]) -> HeaderMap {
    let text = std::str::from_utf8(content).unwrap();
    let lines = text.split_terminator("\r\n");
    let parsed = lines.map(|line| {
        let (name, value) = line.split_once(':').unwrap();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        (name, HeaderValue::from_str(value.trim()).unwrap())
    });
    parsed.collect()
}
