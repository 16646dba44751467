//! The streams of people: how many there can be at once, and when they end though there is more to say.

use std::time::Duration;

use haven_platform::auth::Claims;
use haven_proto::{
    data::v1::{WatchChangesRequest, WatchChangesResponse},
    identity::v1::SignOutRequest,
};
use haven_testkit::Stack;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use super::probe::{Probe, proto, with_token};
use crate::{eventually::eventually, status::reason, test_device::Device};

/// How many streams of a kind one person may have at once.
const MOST: usize = 12;

/// A quarter of the calls that the probe takes at once.
const QUARTER: usize = 16;

type Watch = Streaming<proto::WatchNothingResponse>;

/// Claims of a person of this number, in a session of the same number.
fn claims(person: u128) -> Claims {
    Claims {
        sub: Uuid::from_u128(person),
        session_id: Some(Uuid::from_u128(person)),
        ..Probe::claims()
    }
}

/// Watches on a connection of its own, and has the first answer.
async fn watch(probe: &Probe, token: &str) -> Result<Watch, Status> {
    let request = with_token(proto::WatchNothingRequest {}, token);
    let mut watch = probe.client().watch_nothing(request).await?.into_inner();
    watch.message().await?.unwrap();
    Ok(watch)
}

async fn watches(probe: &Probe, token: &str, count: usize) -> Vec<Watch> {
    let mut watches = Vec::new();
    for _ in 0..count {
        watches.push(watch(probe, token).await.unwrap());
    }
    watches
}

/// All of a stream that ends.
async fn read(probe: &Probe, token: &str) -> Result<usize, Status> {
    let request = proto::StreamRequest {
        count: 3,
        millis: 0,
        panic: false,
    };
    let mut answers = probe
        .client()
        .stream(with_token(request, token))
        .await?
        .into_inner();
    let mut seen = 0;
    while answers.message().await?.is_some() {
        seen += 1;
    }
    Ok(seen)
}

#[tokio::test]
async fn one_person_who_watches_without_end_is_in_nobodys_way() {
    let probe = Probe::start().await;
    let [ada, bob, eve] = [1, 2, 3].map(|person| probe.token(&claims(person)));
    let hers = watches(&probe, &ada, MOST).await;
    for _ in 0..QUARTER {
        let status = watch(&probe, &ada).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::ResourceExhausted, "OVERLOADED".into())
        );
    }
    // The places that are left are for others.
    let his = watches(&probe, &bob, QUARTER - MOST).await;
    let status = watch(&probe, &eve).await.unwrap_err();
    assert_eq!(reason(&status), "OVERLOADED", "a quarter is all that there is");
    // What ends has places of its own, also for whoever watches as much as they may.
    for token in [&ada, &bob, &eve] {
        assert_eq!(read(&probe, token).await.unwrap(), 3);
    }

    // Those that ended make room, however they ended: their client went away, or they were ended.
    drop(hers);
    eventually("there is room again", async || watch(&probe, &ada).await.is_ok()).await;
    probe.ended.add(Uuid::from_u128(2));
    for mut watch in his {
        let status = watch.message().await.unwrap_err();
        assert_eq!(reason(&status), "SESSION_REVOKED");
    }
    let again = Claims {
        session_id: Some(Uuid::from_u128(22)),
        ..claims(2)
    };
    let bob = probe.token(&again);
    let mut all = Vec::new();
    eventually("there is room for all of them", async || {
        all.extend(watch(&probe, &bob).await);
        all.len() == MOST
    })
    .await;
    assert_eq!(reason(&watch(&probe, &bob).await.unwrap_err()), "OVERLOADED");
}

#[tokio::test]
async fn one_person_who_reads_nothing_is_in_nobodys_way() {
    let probe = Probe::start().await;
    let [ada, bob] = [1, 2].map(|person| probe.token(&claims(person)));
    let endless = || proto::StreamRequest {
        count: i64::MAX - 1,
        millis: 100,
        panic: false,
    };
    let mut open = Vec::new();
    for _ in 0..MOST {
        let stream = probe.client().stream(with_token(endless(), &ada)).await;
        open.push(stream.unwrap());
    }
    assert_eq!(reason(&read(&probe, &ada).await.unwrap_err()), "OVERLOADED");
    assert_eq!(read(&probe, &bob).await.unwrap(), 3);
}

#[tokio::test]
async fn a_stream_ends_when_its_session_does() {
    let probe = Probe::start().await;
    let mut hers = watch(&probe, &probe.token(&claims(1))).await.unwrap();
    let mut others = watch(&probe, &probe.token(&claims(2))).await.unwrap();
    // One that always has something to say ends as well.
    let request = proto::StreamRequest {
        count: i64::MAX - 1,
        millis: 1,
        panic: false,
    };
    let busy = probe
        .client()
        .stream(with_token(request, &probe.token(&claims(1))))
        .await;
    let mut busy = busy.unwrap().into_inner();
    busy.message().await.unwrap().unwrap();
    probe.ended.replace([Uuid::from_u128(1)]);
    let told = timeout(Duration::from_secs(30), hers.message())
        .await
        .expect("it goes on");
    let status = told.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unauthenticated, "SESSION_REVOKED".into())
    );
    let told = timeout(Duration::from_secs(30), async {
        loop {
            if let Err(status) = busy.message().await {
                return status;
            }
        }
    });
    assert_eq!(reason(&told.await.expect("it goes on")), "SESSION_REVOKED");
    let nothing = timeout(Duration::from_millis(300), others.message()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let probe = Probe::start().await;
    let soon = Claims {
        exp: chrono::Utc::now().timestamp() + 8,
        ..claims(1)
    };
    let token = probe.token(&soon);
    let mut hers = watch(&probe, &token).await.unwrap();
    let told = timeout(Duration::from_secs(30), hers.message())
        .await
        .expect("it goes on");
    let status = told.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unauthenticated, "TOKEN_EXPIRED".into())
    );
    assert!(chrono::Utc::now().timestamp() >= soon.exp, "not before its time");
    // As a call is told.
    assert_eq!(reason(&watch(&probe, &token).await.unwrap_err()), "TOKEN_EXPIRED");
}

/// A phone was stolen, and its person ends its session from elsewhere.
#[tokio::test]
async fn a_device_that_was_signed_out_watches_no_longer() {
    let stack = Stack::start().await.unwrap();
    let phone = Device::invent(&stack).await.unwrap();
    let request = WatchChangesRequest {
        device_id: phone.id.to_string(),
        cursor: String::new(),
    };
    let watching = phone.client.cycle().watch_changes(request).await;
    let mut watching: Streaming<WatchChangesResponse> = watching.unwrap().into_inner();
    watching.message().await.unwrap().unwrap();
    phone.client.session().sign_out(SignOutRequest {}).await.unwrap();
    let began = Instant::now();
    let told = timeout(Duration::from_secs(60), watching.message())
        .await
        .expect("it goes on");
    assert_eq!(reason(&told.unwrap_err()), "SESSION_REVOKED");
    eprintln!("it ended after {:?}", began.elapsed());
}
