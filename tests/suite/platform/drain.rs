//! Graceful shutdown: calls in flight finish, within a limit.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use haven_platform::config::Requests;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use super::probe::{Probe, proto, requests};
use crate::{eventually::eventually, status::reason};

/// Returns the limits of a server that drains for 1.5 seconds at most.
fn quick() -> Requests {
    Requests {
        drain_timeout: Duration::from_millis(1_500),
        ..requests()
    }
}

#[tokio::test]
async fn a_call_in_flight_finishes_and_a_new_call_is_refused() {
    let probe = Probe::start().await;
    let mut client = probe.client();
    client.ask_as_anyone(proto::AskAsAnyoneRequest {}).await.unwrap();
    let mut busy = client.clone();
    let call = tokio::spawn(async move {
        busy.wait(proto::WaitRequest {
            millis: 1_500,
            bytes: 0,
        })
        .await
    });
    eventually("the call is in flight", async || {
        probe.waits.load(Ordering::Relaxed) == 1
    })
    .await;
    let began = Instant::now();
    probe.stop.cancel();
    // The server answers DRAINING on an open connection. On a closed connection the call fails without details.
    eventually("a new call is refused", async || {
        let answer = client.ask_as_anyone(proto::AskAsAnyoneRequest {}).await;
        let refused = answer.err();
        if let Some(status) = refused.as_ref().filter(|status| !status.details().is_empty()) {
            assert_eq!(reason(status), "DRAINING");
        }
        refused.is_some()
    })
    .await;
    call.await.unwrap().unwrap();
    let limit = requests().drain_timeout;
    timeout(limit, probe.served)
        .await
        .expect("the server did not stop after its last call")
        .unwrap();
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_silent_client_and_an_open_stream_do_not_delay_the_shutdown() {
    let probe = Probe::start_with(quick()).await;
    // The silent client never starts a handshake. The other client reads a stream that would take an hour.
    let mut silent = TcpStream::connect(probe.addr).await.unwrap();
    let mut stream = probe
        .service()
        .stream(proto::StreamRequest {
            count: 36_000,
            millis: 100,
            panic: false,
        })
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap().unwrap();
    let began = Instant::now();
    probe.stop.cancel();
    timeout(Duration::from_secs(10), probe.served)
        .await
        .expect("the server did not stop within its limit")
        .unwrap();
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(1_400)..Duration::from_secs(8)).contains(&took),
        "{took:?}"
    );
    let read = timeout(Duration::from_secs(10), silent.read(&mut [0; 1]))
        .await
        .expect("the connection is still open");
    assert!(matches!(read, Ok(0) | Err(_)));
}
