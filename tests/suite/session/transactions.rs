//! Transactions and round trips to Postgres of SignIn and RefreshSession.

use std::collections::BTreeMap;

use haven_testkit::Stack;

use super::{another, guess, refresh};
use crate::metrics::Metrics;

/// Calls before the measurement. A connection prepares each statement at its first use, which takes one more round trip.
const WARM: usize = 8;

/// Names of the transactions counted here.
const NAMES: [&str; 5] = [
    "SignIn.find",
    "SignIn",
    "SignIn.failed",
    "RefreshSession.find",
    "RefreshSession",
];

/// Returns the number of transactions so far, by name.
async fn transactions(stack: &Stack) -> BTreeMap<&'static str, f64> {
    let metrics = Metrics::read(stack.identity.listeners.metrics).await;
    let count = |name| metrics.sum("haven_db_transaction_seconds_count", &[("transaction", name)]);
    NAMES
        .into_iter()
        .map(|name| (name, count(name).unwrap_or_default()))
        .collect()
}

/// Returns the number of transactions since `before`, by name, without zeros.
async fn since(stack: &Stack, before: &BTreeMap<&'static str, f64>) -> Vec<(&'static str, f64)> {
    let now = transactions(stack).await;
    now.into_iter()
        .map(|(name, count)| (name, count - before[name]))
        .filter(|(_, count)| *count > 0.0)
        .collect()
}

#[tokio::test]
async fn sign_in_and_refresh_take_two_transactions_of_few_round_trips() {
    let stack = Stack::builder()
        .counted()
        .variable("identity", "DATABASE_POOL_SIZE", "1")
        .start()
        .await
        .unwrap();
    let anonymous = stack.anonymous().unwrap();
    let mut ada = stack.person().await.unwrap();
    for _ in 0..WARM {
        ada = another(&stack, &ada).await;
        ada.refresh_token = refresh(&anonymous, &ada.refresh_token)
            .await
            .unwrap()
            .refresh_token;
    }

    let before = transactions(&stack).await;
    another(&stack, &ada).await;
    assert_eq!(
        since(&stack, &before).await,
        [("SignIn", 1.0), ("SignIn.find", 1.0)]
    );
    for email in [ada.email.as_str(), "unknown@example.org"] {
        let before = transactions(&stack).await;
        guess(&anonymous, email).await;
        let taken = since(&stack, &before).await;
        assert_eq!(taken, [("SignIn.failed", 1.0), ("SignIn.find", 1.0)], "{email}");
    }
    let before = transactions(&stack).await;
    ada.refresh_token = refresh(&anonymous, &ada.refresh_token)
        .await
        .unwrap()
        .refresh_token;
    assert_eq!(
        since(&stack, &before).await,
        [("RefreshSession", 1.0), ("RefreshSession.find", 1.0)]
    );

    // A call each before and after the hash, and one that admits and finds the token, and one that uses it. The readiness check
    // uses the same pool once a second, so some counts are one higher.
    let (mut sign_ins, mut refreshes) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let before = stack.round_trips("identity");
        another(&stack, &ada).await;
        sign_ins.push(stack.round_trips("identity") - before);
        let before = stack.round_trips("identity");
        ada.refresh_token = refresh(&anonymous, &ada.refresh_token)
            .await
            .unwrap()
            .refresh_token;
        refreshes.push(stack.round_trips("identity") - before);
    }
    assert_eq!(sign_ins.iter().min(), Some(&2), "{sign_ins:?}");
    assert_eq!(refreshes.iter().min(), Some(&2), "{refreshes:?}");
}
