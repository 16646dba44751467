//! Concurrent calls of OpenShare for one share.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::join_all;
use haven_proto::data::v1::{
    DeviceType, OpenShareRequest, OpenShareResponse, ShareAccessOutcome as Outcome, ShareState,
};
use haven_testkit::{Client, Stack};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::sleep,
};
use tonic::{Code, Request, Status};

use super::{CONTENT, LIMIT, Sharer, open_from, retry_call, unknown_token};
use crate::{
    eventually::eventually,
    status::reason,
    superuser_sql::{execute, scalar},
};

/// Number of concurrent calls.
const CROWD: usize = 1_000;

/// Number of connections that the calls use.
const CLIENTS: usize = 20;

/// Returns a stack that does not shed load, which is not tested here.
async fn start_without_load_shedding() -> Stack {
    let room = (CROWD * 16).to_string();
    let builder = Stack::builder().variable("data", "MAX_IN_FLIGHT", room);
    builder.start().await.unwrap()
}

/// Returns a request with a deadline that many concurrent calls do not reach.
fn opening(token: &str, passcode: &str) -> Request<OpenShareRequest> {
    let mut request = Request::new(OpenShareRequest {
        token: token.to_owned(),
        passcode: passcode.to_owned(),
        device_type: DeviceType::Desktop.into(),
    });
    request.set_timeout(LIMIT);
    request
}

/// Opens a share, and retries the call when the answer allows a retry.
async fn open(client: &Client, token: &str, passcode: &str) -> Result<OpenShareResponse, Status> {
    let open = async || client.share().open_share(opening(token, passcode)).await;
    Ok(retry_call(open).await?.into_inner())
}

/// Opens a share once, for a client address in network number `network` that `service` forwards.
async fn open_in(
    service: &Client,
    network: usize,
    token: &str,
    passcode: &str,
) -> Result<OpenShareResponse, Status> {
    let mut request = opening(token, passcode);
    let address = format!("192.0.2.{network}").parse().unwrap();
    request.metadata_mut().insert("x-forwarded-for", address);
    Ok(service.share().open_share(request).await?.into_inner())
}

#[tokio::test]
async fn one_of_a_thousand_concurrent_openings_opens_a_share_for_one_access() {
    let stack = start_without_load_shedding().await;
    let ada = Sharer::invent(&stack).await;
    let created = ada.create_share(ada.share_request(1)).await;
    let clients: Vec<_> = (0..CLIENTS).map(|_| stack.anonymous().unwrap()).collect();
    let openings = (0..CROWD).map(|number| open(&clients[number % CLIENTS], &created.token, ""));
    let answers = join_all(openings).await;
    let (opened, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(opened.len(), 1);
    assert_eq!(ada.read(opened[0].as_ref().unwrap()), CONTENT);
    assert_eq!(refused.len(), CROWD - 1);
    // Every refusal looks the same, and the same as for an unknown token.
    let unknown = open(&clients[0], &unknown_token(), "").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    for refused in refused {
        let refused = refused.unwrap_err();
        assert_eq!(reason(&refused), "SHARE_UNAVAILABLE");
        let seen = (refused.code(), refused.message(), refused.details().len());
        assert_eq!(seen, (unknown.code(), unknown.message(), unknown.details().len()));
    }
    let share = ada.share(&created.id).await;
    assert_eq!(share.state(), ShareState::UsedUp);
    assert_eq!((share.access_count, share.refusal_count), (1, CROWD as i64 - 1));
    let counts: Vec<i64> = scalar(
        &stack.database,
        "SELECT ARRAY[count(*) FILTER (WHERE outcome = 'opened'), count(*) FILTER (WHERE outcome = 'used_up'), count(*)]
         FROM data.healthcare_share_audit",
    )
    .await;
    let crowd = CROWD as i64;
    assert_eq!(counts, [1, crowd - 1, crowd]);
}

#[tokio::test]
async fn fifty_concurrent_guesses_count_five_wrong_passcodes() {
    let stack = start_without_load_shedding().await;
    let ada = Sharer::invent(&stack).await;
    let created = ada
        .create_share(ada.share_request_with_passcode("1234", 1_000))
        .await;
    let clients: Vec<_> = (0..CLIENTS).map(|_| stack.service("backend").unwrap()).collect();
    // The calls come from several networks, so that every passcode is hashed and no call is refused for its network.
    let tries = (0..50).map(async |number| {
        let (client, passcode) = (&clients[number % CLIENTS], format!("wrong-{number}"));
        let tried = retry_call(async || open_in(client, number % 5, &created.token, &passcode).await);
        tried.await.unwrap_err()
    });
    let refused = join_all(tries).await;
    let refused = refused.iter().map(reason);
    assert!(refused.into_iter().all(|reason| reason == "SHARE_UNAVAILABLE"));
    let share = ada.share(&created.id).await;
    assert_eq!(share.state(), ShareState::Locked);
    assert_eq!((share.wrong_passcode_count, share.refusal_count), (5, 50));
    let outcomes = ada.outcomes(&created.id).await;
    let count = |wanted: Outcome| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((count(Outcome::PasscodeWrong), count(Outcome::Locked)), (5, 45));
    let refused = open(&clients[0], &created.token, "1234").await.unwrap_err();
    assert_eq!(reason(&refused), "SHARE_UNAVAILABLE");
}

/// Repeats `act` until it fails neither with DEADLINE nor DEPENDENCY_UNAVAILABLE, which a busy machine causes.
/// OVERLOADED and TOO_MANY_CALLS fail the test.
async fn retry_unless_overloaded<T>(act: impl AsyncFn() -> Result<T, Status>) -> T {
    for _ in 0..50 {
        match act().await {
            Err(status) if ["DEADLINE", "DEPENDENCY_UNAVAILABLE"].contains(&reason(&status).as_str()) => {}
            answer => return answer.unwrap(),
        }
    }
    panic!("no call is served");
}

/// Number of concurrent guesses from one address: more than may wait for hashing, and no more than the service takes at
/// once.
const GUESSERS: usize = 180;

#[tokio::test]
async fn guesses_from_one_address_do_not_block_hashing_for_others() {
    let stack = Stack::start().await.unwrap();
    let ada = Sharer::invent(&stack).await;
    let created = ada
        .create_share(ada.share_request_with_passcode("1234", 1_000))
        .await;
    let (token, overloaded) = (unknown_token(), Arc::new(AtomicUsize::new(0)));
    let mut guessers = JoinSet::new();
    let clients: Vec<_> = (0..CLIENTS).map(|_| stack.anonymous().unwrap()).collect();
    for number in 0..GUESSERS {
        let (client, token) = (clients[number % CLIENTS].clone(), token.clone());
        let overloaded = Arc::clone(&overloaded);
        guessers.spawn(async move {
            loop {
                let refused = open_from(&client, &token, "1235", DeviceType::Unknown).await;
                if reason(&refused.unwrap_err()) == "TOO_MANY_CALLS" {
                    overloaded.fetch_add(1, Relaxed);
                }
                // The callers retry earlier than the answer tells them.
                sleep(Duration::from_millis(20)).await;
            }
        });
    }
    eventually("more calls wait for hashing than may", async || {
        overloaded.load(Relaxed) > GUESSERS
    })
    .await;
    let backend = stack.service("backend").unwrap();
    for network in 1..=20 {
        let opened =
            retry_unless_overloaded(async || open_in(&backend, network, &created.token, "1234").await).await;
        assert_eq!(ada.read(&opened), CONTENT);
        let request = ada.share_request_with_passcode("1234", 1);
        retry_unless_overloaded(async || ada.create(request.clone()).await).await;
    }
    let anonymous = stack.anonymous().unwrap();
    let opened = open(
        &anonymous,
        &ada.create_share(ada.share_request(1)).await.token,
        "",
    )
    .await;
    opened.expect("an opening without a passcode waits for hashing");
    guessers.shutdown().await;
}

/// Number of shares that one person makes at the same time: as many as may wait for hashing.
const MAKERS: usize = 128;

#[tokio::test]
async fn shares_made_by_one_person_do_not_block_hashing_for_others() {
    let stack = Stack::start().await.unwrap();
    let (ada, eve) = (Sharer::invent(&stack).await, Sharer::invent(&stack).await);
    let created = ada
        .create_share(ada.share_request_with_passcode("1234", 1_000))
        .await;
    let overloaded = Arc::new(AtomicUsize::new(0));
    let mut makers = JoinSet::new();
    // Sealed on another thread: it derives a key, and a thread that is busy for long answers no ping.
    let seal = |maker: Sharer| spawn_blocking(move || maker.share_request_with_passcode("1234", 1));
    let mut sealed = Vec::new();
    for _ in 0..MAKERS {
        sealed.push(seal(eve.clone()).await.unwrap());
    }
    for mut request in sealed {
        let (eve, overloaded) = (eve.clone(), Arc::clone(&overloaded));
        makers.spawn(async move {
            loop {
                while let Err(status) = eve.create(request.clone()).await {
                    if reason(&status) == "TOO_MANY_CALLS" {
                        overloaded.fetch_add(1, Relaxed);
                    }
                    sleep(Duration::from_millis(20)).await;
                }
                request = seal(eve.clone()).await.unwrap();
            }
        });
    }
    eventually("the person makes more shares than may wait", async || {
        overloaded.load(Relaxed) > MAKERS / 8
    })
    .await;
    let backend = stack.service("backend").unwrap();
    for network in 1..=20 {
        let opened =
            retry_unless_overloaded(async || open_in(&backend, network, &created.token, "1234").await).await;
        assert_eq!(ada.read(&opened), CONTENT);
        let request = ada.share_request_with_passcode("1234", 1);
        retry_unless_overloaded(async || ada.create(request.clone()).await).await;
    }
    makers.shutdown().await;
}

/// Every opening before the revocation counts, and there is none after it.
#[tokio::test]
async fn no_share_is_opened_after_its_revocation() {
    let stack = start_without_load_shedding().await;
    let ada = Sharer::invent(&stack).await;
    let created = ada.create_share(ada.share_request(1_000)).await;
    let anonymous = stack.anonymous().unwrap();
    let opening = join_all((0..100).map(|_| open(&anonymous, &created.token, "")));
    let revoking = async {
        // Revokes after one opening, and not before all of them.
        open(&anonymous, &created.token, "").await.unwrap();
        retry_call(async || ada.revoke(&created.id).await).await.unwrap()
    };
    let (answers, revoked) = tokio::join!(opening, revoking);
    assert_eq!(revoked.state(), ShareState::Revoked);
    let opened = answers.iter().filter(|answer| answer.is_ok()).count() as i32 + 1;
    let share = ada.share(&created.id).await;
    assert_eq!(share.access_count, opened);
    assert_eq!(
        revoked.access_count, opened,
        "the answer of the revocation has the final count"
    );
    // An attempt that looks for the token after the revocation finds none, and counts for no share.
    assert!(share.refusal_count <= 101 - i64::from(opened));
    open(&anonymous, &created.token, "").await.unwrap_err();
}

/// The first thousand refusals are stored, and all are counted.
#[tokio::test]
async fn only_the_first_thousand_refusals_of_a_share_are_stored() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let created = ada.create_share(ada.share_request(1)).await;
    let anonymous = stack.anonymous().unwrap();
    open(&anonymous, &created.token, "").await.unwrap();
    let refused = format!(
        "UPDATE data.healthcare_share SET refusal_count = 999 WHERE id = '{}'",
        created.id
    );
    execute(&stack.database, &refused).await;
    for _ in 0..3 {
        open(&anonymous, &created.token, "").await.unwrap_err();
    }
    assert_eq!(
        ada.outcomes(&created.id).await,
        [Outcome::UsedUp, Outcome::Opened]
    );
    assert_eq!(ada.share(&created.id).await.refusal_count, 1_002);
}

/// Guesses cannot be hidden behind refusals that cost nothing.
#[tokio::test]
async fn wrong_passcodes_are_stored_after_a_thousand_refusals_too() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let created = ada.create_share(ada.share_request_with_passcode("1234", 1)).await;
    let anonymous = stack.anonymous().unwrap();
    let refused = format!(
        "UPDATE data.healthcare_share SET refusal_count = 1000 WHERE id = '{}'",
        created.id
    );
    execute(&stack.database, &refused).await;
    open(&anonymous, &created.token, "").await.unwrap_err();
    for _ in 0..6 {
        open(&anonymous, &created.token, "1235").await.unwrap_err();
    }
    assert_eq!(ada.outcomes(&created.id).await, [Outcome::PasscodeWrong; 5]);
    let share = ada.share(&created.id).await;
    assert_eq!((share.wrong_passcode_count, share.refusal_count), (5, 1_007));
}
