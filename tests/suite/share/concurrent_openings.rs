//! Many who open the same share at once.

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
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Request, Status};

use super::{CONTENT, LIMIT, Sharer, open_from, retry_call, unknown_token};
use crate::{
    eventually::eventually,
    status::reason,
    superuser_sql::{execute, scalar},
};

const CROWD: usize = 1_000;

/// How many connections they come over.
const CLIENTS: usize = 20;

/// A stack that turns nobody away: here that is not what is looked at.
async fn spacious() -> Stack {
    let room = (CROWD * 2).to_string();
    let builder = Stack::builder().variable("data", "MAX_IN_FLIGHT", room);
    builder.start().await.unwrap()
}

/// An opening with a deadline that a crowd does not reach.
fn opening(token: &str, passcode: &str) -> Request<OpenShareRequest> {
    let mut request = Request::new(OpenShareRequest {
        token: token.to_owned(),
        passcode: passcode.to_owned(),
        device_type: DeviceType::Desktop.into(),
    });
    request.set_timeout(LIMIT);
    request
}

async fn open(client: &Client, token: &str, passcode: &str) -> Result<OpenShareResponse, Status> {
    let open = async || client.share().open_share(opening(token, passcode)).await;
    Ok(retry_call(open).await?.into_inner())
}

/// The same for somebody in a network of this number, by the word of `service`; and once.
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
async fn of_a_thousand_at_once_one_opens_what_opens_once() {
    let stack = spacious().await;
    let ada = Sharer::invent(&stack).await;
    let made = ada.make(ada.sharing(1)).await;
    let clients: Vec<_> = (0..CLIENTS).map(|_| stack.anonymous().unwrap()).collect();
    let everybody = (0..CROWD).map(|number| open(&clients[number % CLIENTS], &made.token, ""));
    let answers = join_all(everybody).await;
    let (opened, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(opened.len(), 1);
    assert_eq!(ada.read(opened[0].as_ref().unwrap()), CONTENT);
    assert_eq!(refused.len(), CROWD - 1);
    // All the same, and the same as of a token that there is not.
    let unknown = open(&clients[0], &unknown_token(), "").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    for refused in refused {
        let refused = refused.unwrap_err();
        assert_eq!(reason(&refused), "SHARE_UNAVAILABLE");
        let seen = (refused.code(), refused.message(), refused.details().len());
        assert_eq!(seen, (unknown.code(), unknown.message(), unknown.details().len()));
    }
    let share = ada.share(&made.id).await;
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
async fn fifty_at_once_have_five_wrong_passcodes_between_them() {
    let stack = spacious().await;
    let ada = Sharer::invent(&stack).await;
    let made = ada.make(ada.sharing_under("1234", 1_000)).await;
    let clients: Vec<_> = (0..CLIENTS).map(|_| stack.service("backend").unwrap()).collect();
    // Of more networks than one, so that all of them hash and none is turned away.
    let tries = (0..50).map(async |number| {
        let (client, passcode) = (&clients[number % CLIENTS], format!("wrong-{number}"));
        let tried = retry_call(async || open_in(client, number % 5, &made.token, &passcode).await);
        tried.await.unwrap_err()
    });
    let refused = join_all(tries).await;
    let refused = refused.iter().map(reason);
    assert!(refused.into_iter().all(|reason| reason == "SHARE_UNAVAILABLE"));
    let share = ada.share(&made.id).await;
    assert_eq!(share.state(), ShareState::Locked);
    assert_eq!((share.wrong_passcode_count, share.refusal_count), (5, 50));
    let outcomes = ada.outcomes(&made.id).await;
    let count = |wanted: Outcome| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((count(Outcome::PasscodeWrong), count(Outcome::Locked)), (5, 45));
    let refused = open(&clients[0], &made.token, "1234").await.unwrap_err();
    assert_eq!(reason(&refused), "SHARE_UNAVAILABLE");
}

/// What is answered, and not that there is no turn to hash. On a machine that is busy with other tests one may have to
/// come again for everything else.
async fn served<T>(act: impl AsyncFn() -> Result<T, Status>) -> T {
    for _ in 0..50 {
        match act().await {
            Err(status) if ["DEADLINE", "DEPENDENCY_UNAVAILABLE"].contains(&reason(&status).as_str()) => {}
            answer => return answer.unwrap(),
        }
    }
    panic!("nobody is served");
}

/// How many guess from one place: more than may wait for a turn to hash, and no more than the service takes at once.
const GUESSERS: usize = 180;

#[tokio::test]
async fn whoever_guesses_from_one_place_keeps_nobody_else_from_hashing() {
    let stack = Stack::start().await.unwrap();
    let ada = Sharer::invent(&stack).await;
    let made = ada.make(ada.sharing_under("1234", 1_000)).await;
    let (token, overloaded) = (unknown_token(), Arc::new(AtomicUsize::new(0)));
    let mut guessers = JoinSet::new();
    let clients: Vec<_> = (0..CLIENTS).map(|_| stack.anonymous().unwrap()).collect();
    for number in 0..GUESSERS {
        let (client, token) = (clients[number % CLIENTS].clone(), token.clone());
        let overloaded = Arc::clone(&overloaded);
        guessers.spawn(async move {
            loop {
                let refused = open_from(&client, &token, "1235", DeviceType::Unknown).await;
                if reason(&refused.unwrap_err()) == "OVERLOADED" {
                    overloaded.fetch_add(1, Relaxed);
                }
                // They do not wait as long as they are told.
                sleep(Duration::from_millis(20)).await;
            }
        });
    }
    eventually("there are more than may wait", async || {
        overloaded.load(Relaxed) > GUESSERS
    })
    .await;
    let backend = stack.service("backend").unwrap();
    for network in 1..=20 {
        let opened = served(async || open_in(&backend, network, &made.token, "1234").await).await;
        assert_eq!(ada.read(&opened), CONTENT);
        let request = ada.sharing_under("1234", 1);
        served(async || ada.create(request.clone()).await).await;
    }
    let nobody = stack.anonymous().unwrap();
    let opened = open(&nobody, &ada.make(ada.sharing(1)).await.token, "").await;
    opened.expect("where no passcode is said, nobody waits");
    guessers.shutdown().await;
}

/// Every opening before the revocation counts, and there is none after it.
#[tokio::test]
async fn nobody_opens_what_is_revoked() {
    let stack = spacious().await;
    let ada = Sharer::invent(&stack).await;
    let made = ada.make(ada.sharing(1_000)).await;
    let nobody = stack.anonymous().unwrap();
    let opening = join_all((0..100).map(|_| open(&nobody, &made.token, "")));
    let revoking = async {
        // Among them, and not before all of them.
        open(&nobody, &made.token, "").await.unwrap();
        retry_call(async || ada.revoke(&made.id).await).await.unwrap()
    };
    let (answers, revoked) = tokio::join!(opening, revoking);
    assert_eq!(revoked.state(), ShareState::Revoked);
    let opened = answers.iter().filter(|answer| answer.is_ok()).count() as i32 + 1;
    let share = ada.share(&made.id).await;
    assert_eq!(share.access_count, opened);
    assert_eq!(revoked.access_count, opened, "it was the last word");
    assert_eq!(share.refusal_count, 101 - i64::from(opened));
    open(&nobody, &made.token, "").await.unwrap_err();
}

/// The first thousand refusals are written down, and all are counted.
#[tokio::test]
async fn a_share_notes_down_its_first_thousand_refusals() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let made = ada.make(ada.sharing(1)).await;
    let nobody = stack.anonymous().unwrap();
    open(&nobody, &made.token, "").await.unwrap();
    let refused = format!(
        "UPDATE data.healthcare_share SET refusal_count = 999 WHERE id = '{}'",
        made.id
    );
    execute(&stack.database, &refused).await;
    for _ in 0..3 {
        open(&nobody, &made.token, "").await.unwrap_err();
    }
    assert_eq!(ada.outcomes(&made.id).await, [Outcome::UsedUp, Outcome::Opened]);
    assert_eq!(ada.share(&made.id).await.refusal_count, 1_002);
}

/// Whoever guesses cannot hide it behind refusals that cost nothing.
#[tokio::test]
async fn wrong_passcodes_are_noted_down_whatever_was_refused_before() {
    let stack = Stack::shared().await.unwrap();
    let ada = Sharer::invent(stack).await;
    let made = ada.make(ada.sharing_under("1234", 1)).await;
    let nobody = stack.anonymous().unwrap();
    let refused = format!(
        "UPDATE data.healthcare_share SET refusal_count = 1000 WHERE id = '{}'",
        made.id
    );
    execute(&stack.database, &refused).await;
    open(&nobody, &made.token, "").await.unwrap_err();
    for _ in 0..6 {
        open(&nobody, &made.token, "1235").await.unwrap_err();
    }
    assert_eq!(ada.outcomes(&made.id).await, [Outcome::PasscodeWrong; 5]);
    let share = ada.share(&made.id).await;
    assert_eq!((share.wrong_passcode_count, share.refusal_count), (5, 1_007));
}
