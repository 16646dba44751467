//! The time of a refusal does not tell its reason.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use haven_proto::data::v1::{DeviceType, ShareAccessOutcome as Outcome};
use haven_testkit::{Client, Stack};
use sqlx::{AssertSqlSafe, PgConnection};

use super::{CreatedShare, Sharer, open, open_from, unknown_token};
use crate::{metrics::Metrics, status::reason, superuser_sql::execute};

/// Refusals are answered at multiples of this time after the call.
const STEP: Duration = Duration::from_millis(50);
const STEP_WITH_PASSCODE: Duration = Duration::from_millis(250);

/// Maximum difference of the medians. A refusal that is answered one step later than the others differs by twice that.
const TOLERANCE: Duration = Duration::from_millis(25);

/// Maximum number of rounds: a machine that is busy with other tests gets another chance, and the measurements add up.
const MAX_ROUNDS: usize = 4;

/// Number of measurements of each refusal in a round.
const TRIES: usize = 11;

/// Number of concurrent calls for the same refusal, and number of such crowds in a round.
const CROWD: usize = 40;
const CROWDS: usize = 5;

/// A way to be refused.
struct Case {
    what: &'static str,
    token: String,
    passcode: &'static str,
    /// SQL that resets the share before each try.
    before: Option<String>,
}

/// Makes the call of a case, which must be refused, and returns how long it took.
async fn refuse(client: &Client, case: &Case) -> Duration {
    let begin = Instant::now();
    let refused = open_from(client, &case.token, case.passcode, DeviceType::Unknown).await;
    let took = begin.elapsed();
    assert_eq!(
        reason(&refused.unwrap_err()),
        "SHARE_UNAVAILABLE",
        "{}",
        case.what
    );
    took
}

/// Returns how many hashes the data service has computed.
async fn hash_count(stack: &Stack) -> f64 {
    let metrics = Metrics::read(stack.data.listeners.metrics).await;
    metrics.sum("haven_hash_seconds_count", &[]).unwrap_or_default()
}

/// Creates an expired, a revoked and a used up share.
async fn unavailable_shares(stack: &Stack, ada: &Sharer) -> [(&'static str, CreatedShare); 3] {
    let [expired, revoked, used_up] = [
        ada.create_share(ada.share_request(1)).await,
        ada.create_share(ada.share_request(1)).await,
        ada.create_share(ada.share_request(1)).await,
    ];
    let sql = format!(
        "UPDATE data.healthcare_share SET created_at = now() - interval '1 day', expires_at = now() WHERE id = '{}'",
        expired.id
    );
    execute(&stack.database, &sql).await;
    ada.revoke(&revoked.id).await.unwrap();
    open(stack, &used_up.token, "").await.unwrap();
    [("expired", expired), ("revoked", revoked), ("used up", used_up)]
}

/// Returns all cases, and the share with guessed passcodes.
async fn cases(stack: &Stack, ada: &Sharer) -> (Vec<Case>, CreatedShare) {
    let guessed = ada.create_share(ada.share_request_with_passcode("1234", 1)).await;
    let locked = ada.create_share(ada.share_request_with_passcode("1234", 1)).await;
    let wrong_passcodes = |created: &CreatedShare, count: i32| {
        let id = &created.id;
        format!("UPDATE data.healthcare_share SET wrong_passcodes = {count} WHERE id = '{id}'")
    };
    execute(&stack.database, &wrong_passcodes(&locked, 5)).await;
    let mut tokens = vec![("unknown", unknown_token()), ("locked", locked.token)];
    tokens.extend(
        unavailable_shares(stack, ada)
            .await
            .map(|(what, created)| (what, created.token)),
    );
    let mut cases = vec![
        Case {
            what: "passcode missing",
            token: guessed.token.clone(),
            passcode: "",
            before: None,
        },
        Case {
            what: "passcode wrong",
            token: guessed.token.clone(),
            passcode: "1235",
            before: Some(wrong_passcodes(&guessed, 0)),
        },
    ];
    for (what, token) in tokens {
        for passcode in ["", "1235"] {
            cases.push(Case {
                what,
                token: token.clone(),
                passcode,
                before: None,
            });
        }
    }
    (cases, guessed)
}

/// Resets the share of a case.
async fn prepare(database: &mut PgConnection, case: &Case) {
    if let Some(sql) = &case.before {
        let sql = AssertSqlSafe(sql.as_str());
        sqlx::query(sql).execute(database).await.unwrap();
    }
}

/// Returns the median and the minimum.
fn median(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[0])
}

#[tokio::test]
async fn every_refusal_takes_the_same_time() {
    let stack = Stack::start().await.unwrap();
    let ada = Sharer::invent(&stack).await;
    let anonymous = stack.anonymous().unwrap();
    let mut database = stack.database.connect("postgres").await.unwrap();
    let (cases, guessed) = cases(&stack, &ada).await;
    let mut times = vec![Vec::new(); cases.len()];
    for round in 1..=MAX_ROUNDS {
        // The cases take turns, so that load on the machine slows all of them down.
        for _ in 0..TRIES {
            for (case, times) in cases.iter().zip(&mut times) {
                prepare(&mut database, case).await;
                times.push(refuse(&anonymous, case).await);
            }
        }
        let mut equal = true;
        for (with_passcode, step) in [(false, STEP), (true, STEP_WITH_PASSCODE)] {
            let mut medians = Vec::new();
            for (case, times) in cases.iter().zip(&mut times) {
                if case.passcode.is_empty() == with_passcode {
                    continue;
                }
                let (median, shortest) = median(times);
                println!(
                    "round {round}: {} {:?}: {shortest:?} at least, {median:?} in the median",
                    case.what, case.passcode
                );
                assert!(shortest >= step, "{}: answered too early", case.what);
                medians.push(median);
            }
            let (shortest, longest) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
            equal &= *longest - *shortest < TOLERANCE;
        }
        // Each refusal had the outcome of its case.
        let outcomes = ada.outcomes(&guessed.id).await;
        for wanted in [Outcome::PasscodeWrong, Outcome::PasscodeMissing] {
            let found = outcomes.iter().filter(|outcome| **outcome == wanted).count();
            assert_eq!(found, TRIES * round, "{wanted:?}");
        }
        if equal {
            return;
        }
    }
    panic!("the time of a refusal tells its reason");
}

/// Concurrent calls wait for each other, whether or not the share exists.
#[tokio::test]
async fn concurrent_refusals_take_the_same_time_for_every_reason() {
    let stack = Stack::start().await.unwrap();
    let ada = Sharer::invent(&stack).await;
    let clients: Vec<_> = (0..10).map(|_| stack.anonymous().unwrap()).collect();
    let mut cases = vec![("unknown", unknown_token())];
    cases.extend(
        unavailable_shares(&stack, &ada)
            .await
            .map(|(what, created)| (what, created.token)),
    );
    let cases = cases.into_iter().map(|(what, token)| Case {
        what,
        token,
        passcode: "",
        before: None,
    });
    let cases: Vec<_> = cases.collect();
    let mut times = vec![Vec::new(); cases.len()];
    for round in 1..=MAX_ROUNDS {
        // The crowds take turns, so that load on the machine slows all of them down.
        for _ in 0..CROWDS {
            for (case, times) in cases.iter().zip(&mut times) {
                let crowd = (0..CROWD).map(|number| refuse(&clients[number % clients.len()], case));
                times.push(median(&mut join_all(crowd).await).0);
            }
        }
        let mut medians = Vec::new();
        for (case, times) in cases.iter().zip(&mut times) {
            let (median, shortest) = median(times);
            println!(
                "round {round}: {}: {shortest:?} at least, {median:?} in the median",
                case.what
            );
            medians.push(median);
        }
        let (shortest, longest) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
        // Calls that did not wait for the others would be many times as fast. The median of one crowd may come before a
        // step, and that of another after it.
        if *longest < *shortest * 2 {
            return;
        }
    }
    panic!("the time of a refusal tells its reason");
}

/// A given passcode costs one hash, whether or not there is a hash to compare it with. No passcode costs none.
#[tokio::test]
async fn a_passcode_costs_one_hash_and_no_passcode_costs_none() {
    let stack = Stack::start().await.unwrap();
    let ada = Sharer::invent(&stack).await;
    let anonymous = stack.anonymous().unwrap();
    let (cases, _) = cases(&stack, &ada).await;
    for case in &cases {
        let before = hash_count(&stack).await;
        refuse(&anonymous, case).await;
        let expected = if case.passcode.is_empty() { 0.0 } else { 1.0 };
        assert_eq!(
            hash_count(&stack).await - before,
            expected,
            "{} {:?}",
            case.what,
            case.passcode
        );
    }
    let before = hash_count(&stack).await;
    let created = ada.create_share(ada.share_request(2)).await;
    open(&stack, &created.token, "").await.unwrap();
    assert_eq!(hash_count(&stack).await, before);
    open(&stack, &created.token, "1234").await.unwrap();
    assert_eq!(hash_count(&stack).await, before + 1.0);
}
