//! A connection: what the layers know of it, and its stream of bytes, which the server can close.
//!
//! hyper owns the connection and has no way to end it because of a call. So the stream of bytes fails when the connection is told
//! to close, and hyper ends.
//!
//! A connection speaks HTTP/2, or, where browsers are served, HTTP/1.1. hyper decides by the first bytes, and so does this file.
//! hyper closes a connection of HTTP/1.1 that has sent no complete headers for 30 seconds, before the first request and after
//! each answer, and one that has more than 100 headers. What hyper bounds less than HTTP/2 does is bounded here: the size of
//! headers, and answers to a client that sends request after request and reads none of the answers.

use std::{
    collections::HashMap,
    fmt, io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::extract::Request;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, interval, sleep},
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::{
    from_browser::FromBrowser, http1_head::Http1Head, open_answer::OpenAnswer, places::Place,
    protocol::MAX_READ_HEADER_BYTES, resets::Resets, spoken::Spoken,
};
use crate::{auth::calling_service, call::ServiceName, network::Network, tls::Tls};

/// The time after the handshake for the preface of HTTP/2 to arrive, or what shows that the connection speaks HTTP/1.1.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for which a client of HTTP/1.1 may take no byte of what is sent to it. HTTP/2 has its pings.
const STALLED: Duration = Duration::from_secs(30);

/// The interval between two searches for answers that are not read.
const SWEEP_INTERVAL: Duration = Duration::from_millis(500);

/// The number of answers that may stay unread after they were dropped. Each keeps at most two parts in memory.
const STUCK_OF_CLIENT: usize = 7;
const STUCK_OF_MANY: usize = 127;

/// A holder of connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum ConnectionHolder {
    /// The network of clients without a listed certificate.
    Network(Network),
    /// The site of an IPv6 network.
    Site(Network),
    /// The service with a listed certificate.
    Service(ServiceName),
    /// The network of a trusted proxy.
    Proxy(Network),
}

/// A connection, as the layers see it. Cloning shares it.
#[derive(Clone)]
pub(super) struct Connection(Arc<Inner>);

struct Inner {
    id: u64,
    network: Option<Network>,
    service: Option<ServiceName>,
    is_proxy: bool,
    /// Whether the connection speaks HTTP/1.1, and so has one answer at a time.
    is_http1: AtomicBool,
    closed: CancellationToken,
    /// The answers that were not sent completely, by number.
    answers: Mutex<HashMap<u64, Arc<OpenAnswer>>>,
    next_answer: AtomicU64,
}

impl Connection {
    pub(super) fn new(id: u64, network: Option<Network>, service: Option<ServiceName>) -> Self {
        Self::of(id, network, service, false)
    }

    /// Creates the connection of a trusted proxy, which carries the calls of many clients.
    pub(super) fn of_proxy(id: u64, network: Network) -> Self {
        Self::of(id, Some(network), None, true)
    }

    fn of(id: u64, network: Option<Network>, service: Option<ServiceName>, is_proxy: bool) -> Self {
        Self(Arc::new(Inner {
            id,
            network,
            service,
            is_proxy,
            is_http1: AtomicBool::new(false),
            closed: CancellationToken::new(),
            answers: Mutex::default(),
            next_answer: AtomicU64::new(0),
        }))
    }

    /// Returns the number of the connection, which is its own in this process.
    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    /// Returns the network of the peer; `None` when the socket's address is unknown.
    pub(super) fn network(&self) -> Option<Network> {
        self.0.network
    }

    /// Returns the service that the client certificate names; `None` unless it is listed.
    pub(super) fn service(&self) -> Option<&ServiceName> {
        self.0.service.as_ref()
    }

    /// Returns whether the peer is a trusted proxy without a listed certificate.
    pub(super) fn is_proxy(&self) -> bool {
        self.0.is_proxy
    }

    /// Notes that the connection speaks HTTP/1.1.
    pub(super) fn speaks_http1(&self) {
        self.0.is_http1.store(true, Ordering::Relaxed);
    }

    /// Closes the connection. `cause` is a label of the metric.
    pub(super) fn close(&self, cause: &'static str) {
        if !self.0.closed.is_cancelled() {
            metrics::counter!("haven_connections_closed_total", "cause" => cause).increment(1);
            tracing::info!(cause, "closes a connection");
            self.0.closed.cancel();
        }
    }

    /// Adds an answer that is being sent, and returns its number.
    pub(super) fn add(&self, answer: &Arc<OpenAnswer>) -> u64 {
        let number = self.0.next_answer.fetch_add(1, Ordering::Relaxed);
        self.answers().insert(number, Arc::clone(answer));
        number
    }

    /// Removes an answer that was sent, or is not to be sent.
    pub(super) fn remove(&self, number: u64) {
        self.answers().remove(&number);
    }

    /// Drops the answers that are not read, and closes the connection when many stay unread after that.
    ///
    /// A client that stopped reading one stream, such as a paused app, keeps its other calls. The connection of a service or
    /// of a trusted proxy carries the calls of many people, so that it closes later. One that speaks HTTP/1.1 can carry no
    /// other call until the answer was read, and closes at once.
    pub(super) fn sweep(&self, now: Instant) {
        let answers: Vec<_> = self.answers().values().cloned().collect();
        // Each answer is swept, also after a stuck one.
        let stuck = answers.iter().filter(|answer| answer.sweep(now)).count();
        let bearable = match self.service() {
            _ if self.0.is_http1.load(Ordering::Relaxed) => 0,
            Some(_) => STUCK_OF_MANY,
            None if self.is_proxy() => STUCK_OF_MANY,
            None => STUCK_OF_CLIENT,
        };
        if stuck > bearable {
            self.close("unread");
        }
    }

    #[cfg(test)]
    pub(super) fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    #[cfg(test)]
    pub(super) fn open_answers(&self) -> usize {
        self.answers().len()
    }

    fn answers(&self) -> MutexGuard<'_, HashMap<u64, Arc<OpenAnswer>>> {
        self.0.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// The bytes of a connection, from the handshake to its end.
pub(super) struct ConnectionIo {
    stream: TlsStream<TcpStream>,
    connection: Connection,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    spoken: Spoken,
    resets: Resets,
    /// The headers that are arriving, if the connection speaks HTTP/1.1.
    head: Http1Head,
    /// The time until which the first bytes may come; `None` when they have.
    first_until: Option<Pin<Box<Sleep>>>,
    /// The time until which a client of HTTP/1.1 must take more; `None` while it does.
    stalled: Option<Pin<Box<Sleep>>>,
    sweeper: tokio::task::AbortHandle,
    _place: Place<ConnectionHolder>,
}

impl ConnectionIo {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        connection: Connection,
        place: Place<ConnectionHolder>,
    ) -> Self {
        metrics::gauge!("haven_connections").increment(1);
        let swept = connection.clone();
        let sweeper = tokio::spawn(async move {
            let mut rounds = interval(SWEEP_INTERVAL);
            loop {
                rounds.tick().await;
                swept.sweep(Instant::now());
            }
        });
        Self {
            stream,
            closed: Box::pin(connection.0.closed.clone().cancelled_owned()),
            connection,
            spoken: Spoken::Unknown(0),
            resets: Resets::new(Instant::now()),
            head: Http1Head::default(),
            first_until: Some(Box::pin(sleep(PREFACE_TIMEOUT))),
            stalled: None,
            sweeper: sweeper.abort_handle(),
            _place: place,
        }
    }

    /// Returns an error when the connection is to be closed, and otherwise wakes the task when it is.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(timer) = &mut self.first_until
            && timer.as_mut().poll(cx).is_ready()
        {
            self.connection.close("no_preface");
        }
        if let Some(timer) = &mut self.stalled
            && timer.as_mut().poll(cx).is_ready()
        {
            self.connection.close("unread");
        }
        match self.closed.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// Notes what came, and closes the connection when it is a flood of resets or a head of HTTP/1.1 without an end.
    fn note_read(&mut self, new: &[u8]) {
        self.spoken = self.spoken.after(new);
        match self.spoken {
            Spoken::Unknown(_) => {}
            Spoken::Http2 => self.first_until = None,
            Spoken::Http1 => {
                if self.first_until.take().is_some() {
                    self.connection.speaks_http1();
                }
                if self.head.read(new) > MAX_READ_HEADER_BYTES as usize {
                    self.connection.close("headers");
                }
                return;
            }
        }
        // The frames that came are still processed; the next read fails.
        if !self.resets.read(new, Instant::now()) {
            self.connection.close("resets");
        }
    }

    /// Notes whether the client takes what is sent to it, if the connection speaks HTTP/1.1.
    fn note_write<T>(&mut self, written: Poll<T>, cx: &mut Context<'_>) -> Poll<T> {
        if matches!(self.spoken, Spoken::Http1) {
            match written {
                Poll::Ready(_) => {
                    if self.stalled.take().is_some() {
                        // `poll_read` waited for this.
                        cx.waker().wake_by_ref();
                    }
                }
                Poll::Pending => {
                    let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALLED)));
                    // To be woken: `poll_closed` looks at it.
                    if timer.as_mut().poll(cx).is_ready() {
                        cx.waker().wake_by_ref();
                    }
                }
            }
        }
        written
    }
}

/// Returns the service that `request` acts as: the one that the certificate of its connection names, if that is listed. A request
/// from a browser acts as none, because a browser sends the certificates that are installed in it for the calls of any page.
pub(super) fn service_of_request(request: &Request) -> Option<&ServiceName> {
    match FromBrowser::of(request) {
        Some(_) => None,
        None => request.extensions().get::<Connection>()?.service(),
    }
}

/// Returns the service that the certificate of a new connection names.
pub(super) fn service_of(stream: &TlsStream<TcpStream>, tls: &Tls) -> Option<ServiceName> {
    let (service, _) = calling_service(stream.get_ref().1.peer_certificates()?, tls)?;
    Some(service)
}

impl Drop for ConnectionIo {
    fn drop(&mut self) {
        self.sweeper.abort();
        metrics::gauge!("haven_connections").decrement(1);
    }
}

impl Connected for ConnectionIo {
    /// Every request of the connection has it in its extensions.
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        self.connection.clone()
    }
}

impl AsyncRead for ConnectionIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_closed(cx)?;
        // hyper answers request after request without waiting for its client to take the answers, and keeps them.
        if self.stalled.is_some() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.note_read(&buf.filled()[before..]);
        read
    }
}

impl AsyncWrite for ConnectionIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_closed(cx)?;
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.head.answer(buf);
        self.note_write(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_closed(cx)?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note_write(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A peer that does not read cannot hold up the end of a connection that is to be closed.
        self.poll_closed(cx)?;
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.note_write(shut, cx)
    }
}
