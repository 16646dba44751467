//! Replicas of identity share their rate limits.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use haven_proto::identity::v1::SignInRequest;
use haven_testkit::{Client, Stack, port::Port, random};

use crate::{replica::replica, retry::retry_call, status::reason, superuser_sql::scalar};

/// A burst of 40 and then two each second: fewer than a machine that is busy with other tests can serve.
const LIMITS: &str = "network=40/20s,email=off,service=off";
/// Burst that [`LIMITS`] allows.
const BURST: f64 = 40.0;

/// Rate that [`LIMITS`] allows after the burst, in calls each second.
const PER_SECOND: f64 = 2.0;

/// Time for which calls are counted: longer than the period of the limit.
const WINDOW: Duration = Duration::from_secs(22);

/// Signs in with an address that has no account. Returns whether the limit admitted the call.
async fn admitted(client: &Client) -> bool {
    let request = SignInRequest {
        email: format!("person-{}@example.org", random::uuid()),
        password: "Correct-Horse-7-Battery".to_owned(),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    };
    let mut sessions = client.session();
    let answer = retry_call(request, async |request| sessions.sign_in(request).await);
    let status = answer.await.unwrap_err();
    match reason(&status).as_str() {
        "CREDENTIALS_INVALID" => true,
        "RATE_LIMITED" => false,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn two_replicas_admit_as_many_sign_ins_as_one() {
    let limited = Stack::builder().variable("identity", "SIGN_IN_LIMITS", LIMITS);
    let stack = limited.start().await.unwrap();
    let ports = [(); 3].map(|()| Port::reserve().unwrap());
    let replica = replica(&stack.identity, &ports).await;
    let one = stack.anonymous().unwrap();
    let other = Client::new(&stack.certificates, None, replica.listeners, stack.data.listeners).unwrap();

    let count = [AtomicU32::new(0), AtomicU32::new(0)];
    let begin = Instant::now();
    // Each caller continues until a call after WINDOW is refused, and returns when that was: on a busy machine it may be later.
    let callers = (0..8).map(|i| {
        let (client, count) = ([&one, &other][i % 2], &count[i % 2]);
        async move {
            loop {
                if admitted(client).await {
                    count.fetch_add(1, Relaxed);
                } else if begin.elapsed() >= WINDOW {
                    return begin.elapsed();
                } else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    });
    let last = join_all(callers).await.into_iter().max().unwrap();
    let expected = BURST + PER_SECOND * last.as_secs_f64();
    let counts = count.map(|count| f64::from(count.into_inner()));
    let admitted: f64 = counts.iter().sum();
    eprintln!(
        "{counts:?} admitted of {expected:.1} configured: {:.3}",
        admitted / expected
    );
    assert!(
        (admitted / expected - 1.0).abs() <= 0.05,
        "{counts:?} of {expected}"
    );
    assert!(
        counts.iter().all(|count| *count > 0.0),
        "one replica admitted no call: {counts:?}"
    );
}

#[tokio::test]
async fn two_replicas_with_different_limits_each_admit_what_their_own_limit_does() {
    let limited = Stack::builder().variable(
        "identity",
        "SIGN_IN_LIMITS",
        "network=5/24h,email=off,service=off",
    );
    let mut stack = limited.start().await.unwrap();
    let ports = [(); 3].map(|()| Port::reserve().unwrap());
    let limits = "network=6/24h,email=off,service=off".to_owned();
    stack
        .identity
        .variables
        .insert("SIGN_IN_LIMITS".to_owned(), limits);
    let replica = replica(&stack.identity, &ports).await;
    let one = stack.anonymous().unwrap();
    let other = Client::new(&stack.certificates, None, replica.listeners, stack.data.listeners).unwrap();
    let mut count = 0;
    for _ in 0..15 {
        for client in [&one, &other] {
            count += u32::from(admitted(client).await);
        }
    }
    assert_eq!(count, 11);
}

#[tokio::test]
async fn one_key_under_two_limits_by_turns_is_refused_by_both() {
    let stack = Stack::start().await.unwrap();
    // As two programs of before the limit was part of the key would call.
    let calls = "WITH RECURSIVE call AS (
            SELECT 0 AS number, true AS admitted
            UNION ALL
            SELECT number + 1, (SELECT a.admitted FROM identity.admit_call(ARRAY[sha256('caller')],
                ARRAY[CASE number % 2 WHEN 0 THEN interval '12 minutes' ELSE interval '10 minutes' END],
                ARRAY[CASE number % 2 WHEN 0 THEN interval '48 minutes' ELSE interval '50 minutes' END],
                '{}', '{}', '0', '0') AS a)
            FROM call WHERE number < 40
        )
        SELECT count(*) FROM call WHERE number > 0 AND admitted";
    let admitted: i64 = scalar(&stack.database, calls).await;
    assert!((5..=6).contains(&admitted), "{admitted} of 40");
}
