//! SignIn takes as long for an unknown address as for a wrong password, so its time does not reveal accounts.

use std::time::{Duration, Instant};

use haven_testkit::{Client, Stack, client::sign_up_request};
use tonic::Status;

use super::{credentials, guess, sign_in};
use crate::{metrics::Metrics, status::reason, superuser_sql::execute};

/// Number of accounts that are signed in to with wrong passwords.
const ACCOUNTS: usize = 60;

/// Wrong passwords for each account: fewer than those after which an attempt has to wait.
const GUESSES: usize = 4;

/// Allowed difference of the medians, as a fraction of the time of one hash. With 240 pairs, chance makes a small part of it.
/// A missing hash makes a difference of 1.
const TOLERANCE: f64 = 0.2;

/// Maximum number of rounds. On a machine that is busy with other tests, further rounds add pairs.
const ROUNDS: usize = 3;

const PASSWORD: &str = "Correct-Horse-7-Battery";

/// Durations of one kind of call.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    /// Measures a call, which must fail with the reason `expected`.
    async fn measure(&mut self, call: impl Future<Output = Status>, expected: &str) {
        let begin = Instant::now();
        let status = call.await;
        self.0.push(begin.elapsed());
        assert_eq!(reason(&status), expected);
    }

    fn median(&mut self) -> Duration {
        self.0.sort_unstable();
        self.0[self.0.len() / 2]
    }
}

/// Returns whether two medians are too close to tell apart.
fn alike(a: Duration, b: Duration, hash: Duration) -> bool {
    a.abs_diff(b) < hash.mul_f64(TOLERANCE)
}

/// Returns for how many seconds identity has hashed so far, and how often.
async fn hashed(stack: &Stack) -> [f64; 2] {
    let metrics = Metrics::read(stack.identity.listeners.metrics).await;
    ["haven_hash_seconds_sum", "haven_hash_seconds_count"].map(|name| metrics.sum(name, &[]).unwrap())
}

/// Signs in with a password that is refused before it is hashed: the rest of a sign-in without the hash.
async fn unhashed(client: &Client, email: &str) -> Status {
    let request = credentials(email, &"x".repeat(129));
    sign_in(client, request).await.unwrap_err()
}

#[tokio::test]
async fn an_unknown_address_takes_as_long_as_a_wrong_password() {
    let stack = Stack::start().await.unwrap();
    let anonymous = stack.anonymous().unwrap();
    for i in 0..ACCOUNTS {
        let request = sign_up_request(&format!("person-{i}@example.org"), PASSWORD);
        anonymous.account().sign_up(request).await.unwrap();
    }
    let before = hashed(&stack).await;
    let (mut wrong, mut unknown, mut control) = (Times::default(), Times::default(), Times::default());
    let mut round = 1;
    let (wrong, unknown, control, hash) = loop {
        for call in 0..ACCOUNTS * GUESSES {
            let i = call % ACCOUNTS;
            let (known_email, unknown_email) = (
                format!("person-{i}@example.org"),
                format!("unknown-{i}@example.org"),
            );
            // The calls run one at a time, in alternating order: a slow moment of the machine affects both kinds.
            for known in [call % 2 == 0, call % 2 == 1] {
                let (times, email) = match known {
                    true => (&mut wrong, &known_email),
                    false => (&mut unknown, &unknown_email),
                };
                times
                    .measure(guess(&anonymous, email), "CREDENTIALS_INVALID")
                    .await;
            }
            control
                .measure(unhashed(&anonymous, &unknown_email), "INVALID_FIELD")
                .await;
        }
        let [seconds, count] = hashed(&stack).await;
        let hash = Duration::from_secs_f64((seconds - before[0]) / (count - before[1]));
        let medians = (wrong.median(), unknown.median(), control.median(), hash);
        println!(
            "{} pairs: a wrong password {:?}, an unknown address {:?}, without a hash {:?}; a hash {hash:?}",
            wrong.0.len(),
            medians.0,
            medians.1,
            medians.2
        );
        if round == ROUNDS || alike(medians.0, medians.1, hash) {
            break medians;
        }
        round += 1;
        execute(&stack.database, "DELETE FROM identity.failures").await;
    };
    assert!(
        alike(wrong, unknown, hash),
        "the time reveals which addresses have an account"
    );
    // The control shows that a missing hash would be detected.
    assert!(
        !alike(wrong, control, hash) && control < wrong,
        "the time does not include a hash"
    );
    assert!(
        !alike(unknown, control, hash) && control < unknown,
        "the time does not include a hash"
    );
}
