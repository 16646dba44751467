//! Server streams: their limits, and their end with the session or the token.

use std::time::Duration;

use haven_platform::{
    auth::{Claims, SessionDigest},
    call::UserId,
};
use haven_proto::{
    data::v1::{WatchChangesRequest, WatchChangesResponse},
    identity::v1::SignOutRequest,
};
use haven_testkit::Stack;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming};
use uuid::Uuid;

use super::probe::{Probe, STREAMS_PER_USER, proto, with_token};
use crate::{eventually::eventually, status::reason, test_device::Device};

/// Open stream of WatchNothing, which never ends by itself.
type Watch = Streaming<proto::WatchNothingResponse>;

/// Returns claims with this number as the user id and the session id.
fn claims(person: u128) -> Claims {
    Claims {
        sub: Uuid::from_u128(person),
        session_id: Some(Uuid::from_u128(person)),
        ..Probe::claims()
    }
}

/// Opens a stream of WatchNothing on a new connection, and reads the first message.
async fn watch(probe: &Probe, token: &str) -> Result<Watch, Status> {
    let request = with_token(proto::WatchNothingRequest {}, token);
    let mut watch = probe.client().watch_nothing(request).await?.into_inner();
    watch.message().await?.unwrap();
    Ok(watch)
}

/// Opens `count` streams of WatchNothing.
async fn watches(probe: &Probe, token: &str, count: usize) -> Vec<Watch> {
    let mut watches = Vec::new();
    for _ in 0..count {
        watches.push(watch(probe, token).await.unwrap());
    }
    watches
}

/// Reads a finite stream to its end, and returns the number of messages.
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

/// Opens watches from the network `127.0.0.<network>` until one is refused.
async fn hoard(probe: &Probe, token: &str, network: u8) -> Vec<Watch> {
    let mut open = Vec::new();
    loop {
        let request = with_token(proto::WatchNothingRequest {}, token);
        match probe.client_from(network).watch_nothing(request).await {
            Ok(watch) => open.push(watch.into_inner()),
            Err(status) => {
                assert_eq!(reason(&status), "TOO_MANY_CALLS");
                return open;
            }
        }
    }
}

#[tokio::test]
async fn many_peoples_watches_leave_places_for_others_and_for_services() {
    let probe = Probe::start().await;
    let mut open = Vec::new();
    let mut counts = Vec::new();
    for person in 1..=8 {
        let token = probe.token(&claims(u128::from(person)));
        let watches = hoard(&probe, &token, person + 1).await;
        counts.push(watches.len());
        open.push(watches);
    }
    assert_eq!(counts[0], STREAMS_PER_USER, "{counts:?}");
    assert!(
        counts.is_sorted_by(|a, b| a >= b) && counts[7] < STREAMS_PER_USER,
        "{counts:?}"
    );
    let other = probe.token(&claims(100));
    let other = watch(&probe, &other).await.expect("no place is left");
    // Calls have places of their own.
    let ask = with_token(proto::AskAsUserRequest {}, &probe.token(&claims(1)));
    probe.client().ask_as_user(ask).await.unwrap();
    drop((open, other));
}

#[tokio::test]
async fn watches_of_one_person_leave_permits_for_others() {
    let probe = Probe::start().await;
    let [ada, bob, eve] = [1, 2, 3].map(|person| probe.token(&claims(person)));
    let watches_of_ada = watches(&probe, &ada, STREAMS_PER_USER).await;
    for _ in 0..STREAMS_PER_USER {
        let status = watch(&probe, &ada).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::ResourceExhausted, "TOO_MANY_CALLS".into())
        );
    }
    // The other permits are for other people.
    let watches_of_bob = watches(&probe, &bob, 4).await;
    // Finite streams have permits of their own, also for a person at the limit of watches.
    for token in [&ada, &bob, &eve] {
        assert_eq!(read(&probe, token).await.unwrap(), 3);
    }

    // A stream releases its permit when its client disconnects, and when its session ends.
    drop(watches_of_ada);
    eventually("a permit is free again", async || {
        watch(&probe, &ada).await.is_ok()
    })
    .await;
    probe
        .ended
        .add(UserId::new(Uuid::from_u128(2)), Uuid::from_u128(2));
    for mut watch in watches_of_bob {
        let status = watch.message().await.unwrap_err();
        assert_eq!(reason(&status), "SESSION_REVOKED");
    }
    let new_session = Claims {
        session_id: Some(Uuid::from_u128(22)),
        ..claims(2)
    };
    let bob = probe.token(&new_session);
    let mut open = Vec::new();
    eventually("permits are free for all streams of a person", async || {
        open.extend(watch(&probe, &bob).await);
        open.len() == STREAMS_PER_USER
    })
    .await;
    assert_eq!(reason(&watch(&probe, &bob).await.unwrap_err()), "TOO_MANY_CALLS");
}

#[tokio::test]
async fn unread_streams_of_one_person_leave_permits_for_others() {
    let probe = Probe::start().await;
    let [ada, bob] = [1, 2].map(|person| probe.token(&claims(person)));
    let endless = || proto::StreamRequest {
        count: i64::MAX - 1,
        millis: 100,
        panic: false,
    };
    let mut open = Vec::new();
    for _ in 0..STREAMS_PER_USER {
        let stream = probe.client().stream(with_token(endless(), &ada)).await;
        open.push(stream.unwrap());
    }
    assert_eq!(reason(&read(&probe, &ada).await.unwrap_err()), "TOO_MANY_CALLS");
    assert_eq!(read(&probe, &bob).await.unwrap(), 3);
}

#[tokio::test]
async fn a_stream_ends_when_its_session_does() {
    let probe = Probe::start().await;
    let mut watches_of_ada = watch(&probe, &probe.token(&claims(1))).await.unwrap();
    let mut others = watch(&probe, &probe.token(&claims(2))).await.unwrap();
    // A stream that sends messages all the time ends as well.
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
    let user = UserId::new(Uuid::from_u128(1));
    probe.ended.replace([SessionDigest::of(user, Uuid::from_u128(1))]);
    let end = timeout(Duration::from_secs(30), watches_of_ada.message())
        .await
        .expect("the stream did not end");
    let status = end.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unauthenticated, "SESSION_REVOKED".into())
    );
    let end = timeout(Duration::from_secs(30), async {
        loop {
            if let Err(status) = busy.message().await {
                return status;
            }
        }
    });
    assert_eq!(
        reason(&end.await.expect("the stream did not end")),
        "SESSION_REVOKED"
    );
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
    let mut watches_of_ada = watch(&probe, &token).await.unwrap();
    let end = timeout(Duration::from_secs(30), watches_of_ada.message())
        .await
        .expect("the stream did not end");
    let status = end.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unauthenticated, "TOKEN_EXPIRED".into())
    );
    assert!(
        chrono::Utc::now().timestamp() >= soon.exp,
        "the stream ended before the token expired"
    );
    // A new call fails for the same reason.
    assert_eq!(reason(&watch(&probe, &token).await.unwrap_err()), "TOKEN_EXPIRED");
}

/// Covers a stolen phone: its person signs it out from elsewhere.
#[tokio::test]
async fn a_watch_of_a_signed_out_device_ends() {
    let stack = Stack::shared().await.unwrap();
    let phone = Device::invent(stack).await.unwrap();
    let request = WatchChangesRequest {
        device_id: phone.id.to_string(),
        cursor: String::new(),
    };
    let watching = phone.client.cycle().watch_changes(request).await;
    let mut watching: Streaming<WatchChangesResponse> = watching.unwrap().into_inner();
    watching.message().await.unwrap().unwrap();
    phone.client.session().sign_out(SignOutRequest {}).await.unwrap();
    let began = Instant::now();
    let end = timeout(Duration::from_secs(60), watching.message())
        .await
        .expect("the stream did not end");
    assert_eq!(reason(&end.unwrap_err()), "SESSION_REVOKED");
    eprintln!("the stream ended after {:?}", began.elapsed());
}
