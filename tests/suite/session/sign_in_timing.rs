//! Nobody learns from the time of a refusal who has an account.

use std::time::{Duration, Instant};

use haven_testkit::{Client, Stack, client::sign_up_request};
use tonic::Status;

use super::{credentials, guess, sign_in};
use crate::{metrics::Metrics, status::reason, superuser_sql::execute};

/// How many accounts are guessed at, and how often each: fewer times than those after which one waits.
const ACCOUNTS: usize = 60;
const GUESSES: usize = 4;

/// By which part of a hash the medians may differ. With 240 pairs that is many times what chance makes of it, and a hash
/// that is left out makes the whole of it.
const TOLERANCE: f64 = 0.2;

/// How often all of it is done at most: a machine that is busy with other tests gets another chance, and pairs add up.
const ROUNDS: usize = 3;

const PASSWORD: &str = "Correct-Horse-7-Battery";

/// Times of one kind of call.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
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

/// Whether nobody can tell one from the other.
fn alike(a: Duration, b: Duration, hash: Duration) -> bool {
    a.abs_diff(b) < hash.mul_f64(TOLERANCE)
}

/// How long identity has hashed so far, and how often.
async fn hashed(stack: &Stack) -> [f64; 2] {
    let metrics = Metrics::read(stack.identity.listeners.metrics).await;
    ["haven_hash_seconds_sum", "haven_hash_seconds_count"].map(|name| metrics.sum(name, &[]).unwrap())
}

/// A password that is refused before it is hashed: what is left of a sign-in when the hash is taken away.
async fn unhashed(client: &Client, email: &str) -> Status {
    let request = credentials(email, &"x".repeat(129));
    sign_in(client, request).await.unwrap_err()
}

#[tokio::test]
async fn an_unknown_address_costs_what_a_wrong_password_costs() {
    let stack = Stack::start().await.unwrap();
    let nobody = stack.anonymous().unwrap();
    for i in 0..ACCOUNTS {
        let request = sign_up_request(&format!("person-{i}@example.org"), PASSWORD);
        nobody.account().sign_up(request).await.unwrap();
    }
    let before = hashed(&stack).await;
    let (mut wrong, mut unknown, mut control) = (Times::default(), Times::default(), Times::default());
    let mut round = 1;
    let (wrong, unknown, control, hash) = loop {
        for call in 0..ACCOUNTS * GUESSES {
            let i = call % ACCOUNTS;
            let (known_email, unknown_email) = (
                format!("person-{i}@example.org"),
                format!("nobody-{i}@example.org"),
            );
            // One after the other, and by turns the one and the other first: what slows the machine down slows both.
            for known in [call % 2 == 0, call % 2 == 1] {
                let (times, email) = match known {
                    true => (&mut wrong, &known_email),
                    false => (&mut unknown, &unknown_email),
                };
                times.measure(guess(&nobody, email), "CREDENTIALS_INVALID").await;
            }
            control
                .measure(unhashed(&nobody, &unknown_email), "INVALID_FIELD")
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
    assert!(alike(wrong, unknown, hash), "the time tells who has an account");
    // The test would notice: without its hash, an unknown address would take no longer than this.
    assert!(
        !alike(wrong, control, hash) && control < wrong,
        "no hash is in it"
    );
    assert!(
        !alike(unknown, control, hash) && control < unknown,
        "no hash is in it"
    );
}
