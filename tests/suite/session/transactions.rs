//! What a sign-in and a refresh cost in Postgres.

use std::collections::BTreeMap;

use haven_testkit::Stack;

use super::{another, guess, refresh};
use crate::metrics::Metrics;

/// Every connection of the pool prepares a statement the first time that it sees it, which is one round trip more.
const WARM: usize = 8;

const NAMES: [&str; 5] = [
    "SignIn.find",
    "SignIn",
    "SignIn.failed",
    "RefreshSession.find",
    "RefreshSession",
];

/// How many transactions of each name there have been.
async fn transactions(stack: &Stack) -> BTreeMap<&'static str, f64> {
    let metrics = Metrics::read(stack.identity.listeners.metrics).await;
    let count = |name| metrics.sum("haven_db_transaction_seconds_count", &[("transaction", name)]);
    NAMES
        .into_iter()
        .map(|name| (name, count(name).unwrap_or_default()))
        .collect()
}

/// Those that there were since `before`.
async fn since(stack: &Stack, before: &BTreeMap<&'static str, f64>) -> Vec<(&'static str, f64)> {
    let now = transactions(stack).await;
    now.into_iter()
        .map(|(name, count)| (name, count - before[name]))
        .filter(|(_, count)| *count > 0.0)
        .collect()
}

#[tokio::test]
async fn a_sign_in_takes_two_transactions() {
    let stack = Stack::builder()
        .counted()
        .variable("identity", "DATABASE_POOL_SIZE", "1")
        .start()
        .await
        .unwrap();
    let nobody = stack.anonymous().unwrap();
    let mut ada = stack.person().await.unwrap();
    for _ in 0..WARM {
        ada = another(&stack, &ada).await;
        ada.refresh_token = refresh(&nobody, &ada.refresh_token).await.unwrap().refresh_token;
    }

    let before = transactions(&stack).await;
    another(&stack, &ada).await;
    assert_eq!(
        since(&stack, &before).await,
        [("SignIn", 1.0), ("SignIn.find", 1.0)]
    );
    for email in [ada.email.as_str(), "nobody@example.org"] {
        let before = transactions(&stack).await;
        guess(&nobody, email).await;
        let taken = since(&stack, &before).await;
        assert_eq!(taken, [("SignIn.failed", 1.0), ("SignIn.find", 1.0)], "{email}");
    }
    let before = transactions(&stack).await;
    ada.refresh_token = refresh(&nobody, &ada.refresh_token).await.unwrap().refresh_token;
    assert_eq!(
        since(&stack, &before).await,
        [("RefreshSession", 1.0), ("RefreshSession.find", 1.0)]
    );

    // Begin, decide about the limits, find the account, commit; begin, write, commit. And begin, find, commit; begin, lock,
    // write, commit. Readiness asks the same pool once a second, so now and then there is one more.
    let (mut sign_ins, mut refreshes) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let before = stack.round_trips("identity");
        another(&stack, &ada).await;
        sign_ins.push(stack.round_trips("identity") - before);
        let before = stack.round_trips("identity");
        ada.refresh_token = refresh(&nobody, &ada.refresh_token).await.unwrap().refresh_token;
        refreshes.push(stack.round_trips("identity") - before);
    }
    assert_eq!(sign_ins.iter().min(), Some(&7), "{sign_ins:?}");
    assert_eq!(refreshes.iter().min(), Some(&7), "{refreshes:?}");
}
