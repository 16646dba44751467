//! A server that stops while pages call.

use std::{sync::atomic::Ordering, time::Duration};

use haven_platform::config::Requests;
use haven_testkit::Stack;
use tokio::time::{Instant, timeout};

use super::{bearer, browser, encoded, path, start, start_with};
use crate::{
    browser::{Browser, Http, ORIGIN},
    eventually::eventually,
    platform::probe::{proto, requests},
    status::reason,
    test_device::Device,
};

#[tokio::test]
async fn a_call_of_a_page_finishes() {
    let probe = start().await;
    let wait = encoded(&proto::WaitRequest {
        millis: 1_500,
        bytes: 0,
    });
    let calls = Http::BOTH.map(|http| {
        let (browser, wait) = (browser(&probe, http), wait.clone());
        tokio::spawn(async move { browser.call(&path("Wait"), &[], &wait).await })
    });
    eventually("the calls are in flight", async || {
        probe.waits.load(Ordering::Relaxed) == 2
    })
    .await;
    probe.stop.cancel();
    for call in calls {
        let _: proto::WaitResponse = call.await.unwrap().message();
    }
    timeout(requests().drain_timeout, probe.served)
        .await
        .expect("the server did not stop after its last call")
        .unwrap();
}

#[tokio::test]
async fn an_open_stream_and_an_idle_connection_do_not_delay_the_stop() {
    let probe = start_with(Requests {
        drain_timeout: Duration::from_millis(1_500),
        ..requests()
    })
    .await;
    let token = bearer(&probe);
    let idle = browser(&probe, Http::One).connect().await;
    let mut open = Vec::new();
    for http in Http::BOTH {
        let mut answer = browser(&probe, http)
            .open(&path("WatchNothing"), &[("authorization", &token)], b"")
            .await;
        answer.message().await;
        open.push(answer);
    }
    let began = Instant::now();
    probe.stop.cancel();
    timeout(Duration::from_secs(8), probe.served)
        .await
        .expect("the server did not stop within its limit")
        .unwrap();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    drop(idle);
}

/// The watches of a service end with a reason, and a page comes back with its cursor.
#[tokio::test]
async fn a_watch_ends_with_a_reason_when_its_service_stops() {
    let mut stack = Stack::builder().web_origins(ORIGIN).start().await.unwrap();
    let device = Device::invent(&stack).await.unwrap();
    let token = format!("Bearer {}", device.person.token);
    let request = encoded(&haven_proto::data::v1::WatchChangesRequest {
        device_id: device.id.to_string(),
        cursor: String::new(),
    });
    for http in Http::BOTH {
        let browser = Browser::new(&stack.certificates, stack.data.listeners.api, http);
        let answer = browser
            .open(
                "/haven.data.v1.CycleService/WatchChanges",
                &[("authorization", &token)],
                &request,
            )
            .await;
        let ended = tokio::spawn(answer.whole());
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(stack.data.stop(), "the service did not stop by itself");
        let whole = timeout(Duration::from_secs(5), ended).await.unwrap().unwrap();
        assert_eq!(reason(&whole.status()), "DRAINING", "{http:?}");
        stack.data.start().await.unwrap();
    }
}
