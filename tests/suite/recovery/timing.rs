//! CreatePasswordReset takes as long for an address without an account as for one with an account.

use std::{
    env,
    time::{Duration, Instant},
};

use haven_testkit::{Client, Stack, client::sign_up_request};

use super::{backend, create_reset, request_id};
use crate::superuser_sql::scalar;

/// Number of accounts, and of unknown addresses.
const ADDRESSES: usize = 20;

/// Number of pairs of calls, one of each kind, unless `HAVEN_PAIRS` says another one.
const PAIRS: usize = 100;

/// Value of t beyond which two times are told apart. Chance exceeds it once in 150,000 tests.
const THRESHOLD: f64 = 4.5;

/// The step of the answers' latency.
const STEP: Duration = Duration::from_millis(50);

/// Maximum number of rounds. On a machine that is busy with other tests, further rounds add pairs.
const ROUNDS: usize = 3;

async fn measure(client: &Client, email: &str) -> f64 {
    let id = request_id();
    let begin = Instant::now();
    let answer = create_reset(client, email, &id).await;
    let took = begin.elapsed();
    assert_eq!(answer.unwrap().token.len(), 47);
    assert!(took >= STEP, "answered too early: {took:?}");
    took.as_secs_f64()
}

/// Returns the mean, the variance and the number of `times`.
fn moments(times: &[f64]) -> (f64, f64, f64) {
    let count = times.len() as f64;
    let mean = times.iter().sum::<f64>() / count;
    let variance = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (mean, variance, count)
}

/// Returns t of Welch's test for the difference of two means.
fn welch(a: &[f64], b: &[f64]) -> f64 {
    let ((mean_a, variance_a, count_a), (mean_b, variance_b, count_b)) = (moments(a), moments(b));
    (mean_a - mean_b) / (variance_a / count_a + variance_b / count_b).sqrt()
}

#[tokio::test]
async fn an_unknown_address_takes_as_long_as_a_known_one() {
    let pairs = env::var("HAVEN_PAIRS").map_or(PAIRS, |pairs| pairs.parse().unwrap());
    let stack = Stack::builder().without("data").start().await.unwrap();
    let (anonymous, backend) = (stack.anonymous().unwrap(), backend(&stack));
    for i in 0..ADDRESSES {
        let request = sign_up_request(&format!("person-{i}@example.org"), "Correct-Horse-7-Battery");
        anonymous.account().sign_up(request).await.unwrap();
    }
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        for call in 0..pairs {
            let i = call % ADDRESSES;
            // One at a time, in alternating order: a slow moment of the machine affects both kinds.
            for is_known in [call % 2 == 0, call % 2 == 1] {
                let (times, name) = match is_known {
                    true => (&mut known, "person"),
                    false => (&mut unknown, "stranger"),
                };
                times.push(measure(&backend, &format!("{name}-{i}@example.org")).await);
            }
        }
        let t = welch(&known, &unknown);
        println!(
            "{} pairs: with an account {:.3} ms, without {:.3} ms, t = {t:.2}",
            known.len(),
            moments(&known).0 * 1000.0,
            moments(&unknown).0 * 1000.0
        );
        if t.abs() < THRESHOLD {
            let tokens: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.recovery_tokens").await;
            assert_eq!(
                tokens,
                i64::try_from(ADDRESSES).unwrap(),
                "each account has a token"
            );
            return;
        }
        assert!(round < ROUNDS, "the time reveals which addresses have an account");
    }
}
