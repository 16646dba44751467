//! Clients that cancel many calls: a well-behaved one keeps its connection, and a flood loses its own.

use std::time::Duration;

use tokio::time::{Instant, interval, timeout};

use super::{
    attacker::Attacker,
    probe::{Probe, proto, with_token},
};
use crate::{raw_socket::kind, status::reason};

const WAIT: &str = "/haven.testing.v1.ProbeService/Wait";

/// The window that HTTP/2 begins with.
const WINDOW: u32 = 65_535;

#[tokio::test]
async fn many_cancelled_calls_keep_their_connection() {
    let probe = Probe::start().await;
    let mut client = Attacker::connect(&probe.certificates, probe.addr.port(), 2, WINDOW).await;
    for count in [30, 500, 1_000] {
        for _ in 0..count {
            client.cancel(WAIT);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!client.is_closed(), "{count} at once");
    }
    // A thousand a second for five seconds.
    let mut ticks = interval(Duration::from_millis(20));
    for _ in 0..250 {
        ticks.tick().await;
        for _ in 0..20 {
            client.cancel(WAIT);
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!client.is_closed(), "a thousand a second");
}

/// A client of a library cancels calls on the connection of its watch.
#[tokio::test]
async fn a_watch_survives_the_cancelled_calls_of_its_client() {
    let probe = Probe::start().await;
    let mut client = probe.client();
    let request = with_token(proto::WatchNothingRequest {}, &probe.token(&Probe::claims()));
    let mut watch = client.watch_nothing(request).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    for _ in 0..5 {
        let calls = (0..500).map(|_| {
            let mut client = client.clone();
            let wait = proto::WaitRequest {
                millis: 30_000,
                bytes: 0,
            };
            tokio::spawn(async move { client.wait(wait).await })
        });
        let calls: Vec<_> = calls.collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        for call in calls {
            call.abort();
        }
    }
    let ended = timeout(Duration::from_secs(1), watch.message()).await;
    assert!(ended.is_err(), "{ended:?}");
    client.ask_as_anyone(proto::AskAsAnyoneRequest {}).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_resets_ends_its_own_connection_and_no_other() {
    let probe = Probe::start().await;
    let mut other = probe.client();
    other.ask_as_anyone(proto::AskAsAnyoneRequest {}).await.unwrap();
    let mut attacker = Attacker::connect(&probe.certificates, probe.addr.port(), 2, WINDOW).await;
    let (began, mut slowest) = (Instant::now(), Duration::ZERO);
    let mut sent = 0;
    while !attacker.is_closed() && began.elapsed() < Duration::from_secs(20) {
        for _ in 0..500 {
            attacker.cancel(WAIT);
        }
        sent += 500;
        let asked = Instant::now();
        let answer = other.ask_as_anyone(proto::AskAsAnyoneRequest {}).await;
        assert!(answer.is_ok(), "{}", reason(&answer.unwrap_err()));
        slowest = slowest.max(asked.elapsed());
    }
    let ended = began.elapsed();
    let frames = attacker.closed(Duration::from_secs(1)).await;
    let goaway = frames.contains(&kind::GOAWAY);
    eprintln!(
        "closed after {ended:?}, {sent} resets; goaway {goaway}; the slowest call of another {slowest:?}"
    );
}
