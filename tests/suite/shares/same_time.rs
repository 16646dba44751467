//! Nobody learns from the time of a refusal why it is one.

use std::time::{Duration, Instant};

use haven_proto::data::v1::DeviceType;
use haven_testkit::{Client, Stack};

use super::{Sharer, open, open_from, unknown_token};
use crate::{metrics::Metrics, sql::execute, status::reason};

/// When refusals are answered: multiples of this after the call.
const STEP: Duration = Duration::from_millis(50);
const STEP_WITH_PASSCODE: Duration = Duration::from_millis(250);

/// By how much the medians may differ. A refusal at another step than the others differs by twice that.
const TOLERANCE: Duration = Duration::from_millis(25);

/// How often all of it is done at most: a machine that is busy with other tests gets another chance, and tries add up.
const ROUNDS: usize = 4;

/// How often each refusal is asked for in a round.
const TRIES: usize = 11;

/// One way to be refused.
struct Case {
    what: &'static str,
    token: String,
    passcode: &'static str,
}

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

/// How often data has hashed.
async fn hashed(stack: &Stack) -> f64 {
    let metrics = Metrics::read(stack.data.listeners.metrics).await;
    metrics.sum("haven_hash_seconds_count", &[]).unwrap_or_default()
}

async fn cases(stack: &Stack, ada: &Sharer) -> Vec<Case> {
    let mut cases = Vec::new();
    let [expired, revoked, used_up] = [
        ada.make(ada.sharing(1)).await,
        ada.make(ada.sharing(1)).await,
        ada.make(ada.sharing(1)).await,
    ];
    let sql = format!(
        "UPDATE data.healthcare_share SET created_at = now() - interval '1 day', expires_at = now() WHERE id = '{}'",
        expired.id
    );
    execute(&stack.database, &sql).await;
    ada.revoke(&revoked.id).await.unwrap();
    open(stack, &used_up.token, "").await.unwrap();
    let guarded = ada.make(ada.sharing_under("1234", 1)).await;
    for (what, token) in [
        ("unknown", unknown_token()),
        ("expired", expired.token),
        ("revoked", revoked.token),
        ("used up", used_up.token),
        ("guarded", guarded.token),
    ] {
        for passcode in ["", "1235"] {
            let token = token.clone();
            cases.push(Case {
                what,
                token,
                passcode,
            });
        }
    }
    cases
}

#[tokio::test]
async fn every_refusal_is_answered_at_the_same_moment() {
    let stack = Stack::start().await.unwrap();
    let ada = Sharer::invent(&stack).await;
    let nobody = stack.anonymous().unwrap();
    let cases = cases(&stack, &ada).await;
    let mut times = vec![Vec::new(); cases.len()];
    for round in 1..=ROUNDS {
        // One after the other, so that what slows the machine down slows all of them.
        for _ in 0..TRIES {
            for (case, times) in cases.iter().zip(&mut times) {
                times.push(refuse(&nobody, case).await);
            }
        }
        let mut alike = true;
        for (with_passcode, step) in [(false, STEP), (true, STEP_WITH_PASSCODE)] {
            let mut medians = Vec::new();
            for (case, times) in cases.iter().zip(&mut times) {
                if case.passcode.is_empty() == with_passcode {
                    continue;
                }
                times.sort_unstable();
                let (least, median) = (times[0], times[times.len() / 2]);
                println!(
                    "round {round}: {} {:?}: {least:?} at least, {median:?} in the median",
                    case.what, case.passcode
                );
                assert!(least >= step, "{}: answered before its moment", case.what);
                medians.push(median);
            }
            let (least, most) = (medians.iter().min().unwrap(), medians.iter().max().unwrap());
            alike &= *most - *least < TOLERANCE;
        }
        if alike {
            return;
        }
    }
    panic!("the time tells why");
}

/// What is said costs a hash, whatever there is to compare it with; and what is not said costs none.
#[tokio::test]
async fn a_passcode_costs_one_hash_and_none_costs_none() {
    let stack = Stack::start().await.unwrap();
    let ada = Sharer::invent(&stack).await;
    let nobody = stack.anonymous().unwrap();
    let cases = cases(&stack, &ada).await;
    for case in &cases {
        let before = hashed(&stack).await;
        refuse(&nobody, case).await;
        let expected = if case.passcode.is_empty() { 0.0 } else { 1.0 };
        assert_eq!(
            hashed(&stack).await - before,
            expected,
            "{} {:?}",
            case.what,
            case.passcode
        );
    }
    let before = hashed(&stack).await;
    let made = ada.make(ada.sharing(2)).await;
    open(&stack, &made.token, "").await.unwrap();
    assert_eq!(hashed(&stack).await, before);
    open(&stack, &made.token, "1234").await.unwrap();
    assert_eq!(hashed(&stack).await, before + 1.0);
}
