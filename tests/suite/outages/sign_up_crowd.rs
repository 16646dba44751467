//! Fixture: many concurrent sign-ups, each retried under the same request id until it gets a response.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use haven_proto::identity::v1::{Account, SignUpRequest};
use haven_testkit::{Client, Stack, client::sign_up_request};
use tonic::{Code, Status};

use super::retryable;
use crate::{eventually::within, superuser_sql::scalar};

/// Number of sign-ups that a crowd attempts.
pub(super) const SIGN_UPS: usize = 200;

/// Number of concurrent clients.
const CLIENTS: usize = 16;

/// Pause before a retry. RetryInfo says a second, which would take too long here.
const PAUSE: Duration = Duration::from_millis(50);

/// Default time for which a sign-up is retried, and for which conditions are awaited.
const LONG_TIMEOUT: Duration = Duration::from_secs(40);

const PASSWORD: &str = "Correct-Horse-7-Battery";

/// Clients, and the responses so far.
pub(super) struct Crowd {
    clients: Vec<Client>,
    timeout: Duration,
    started: Cell<usize>,
    failed: Cell<usize>,
    answered: RefCell<BTreeMap<String, Account>>,
}

impl Crowd {
    /// Creates the clients, each with its own connection.
    pub(super) fn new(stack: &Stack) -> Self {
        Self::with_long_timeout(stack, LONG_TIMEOUT)
    }

    /// Creates the clients with another timeout.
    pub(super) fn with_long_timeout(stack: &Stack, timeout: Duration) -> Self {
        Self {
            timeout,
            clients: (0..CLIENTS).map(|_| stack.anonymous().unwrap()).collect(),
            started: Cell::new(0),
            failed: Cell::new(0),
            answered: RefCell::default(),
        }
    }

    /// Signs up [`SIGN_UPS`] people.
    pub(super) async fn sign_up(&self) {
        join_all(self.clients.iter().map(|client| async {
            while self.started.get() < SIGN_UPS {
                let number = self.started.replace(self.started.get() + 1);
                let request = sign_up_request(&format!("person-{number}@example.org"), PASSWORD);
                let account = self.retry(client, &request).await;
                assert_eq!(account.email, request.email);
                self.answered.borrow_mut().insert(account.email.clone(), account);
            }
        }))
        .await;
    }

    /// Returns the number of sign-ups with a response.
    pub(super) fn answered(&self) -> usize {
        self.answered.borrow().len()
    }

    /// Returns the number of failed attempts.
    pub(super) fn failed(&self) -> usize {
        self.failed.get()
    }

    /// Waits until `count` sign-ups have a response.
    pub(super) async fn has_answers(&self, count: usize) {
        let what = format!("{count} sign-ups are answered");
        within(self.timeout, &what, async || self.answered() >= count).await;
    }

    /// Waits, while data is paused, until the accounts of a quarter of the clients are stored without a response. The other
    /// clients may be at any other point.
    ///
    /// identity waits for data between the commit and the response. A crash at this point matters most, and the moment is too
    /// short to be hit by chance.
    pub(super) async fn waits_for_data(&self, stack: &Stack) {
        within(
            self.timeout,
            "accounts are stored without a response",
            async || {
                let stored: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.users").await;
                stored as usize >= self.answered() + CLIENTS / 4
            },
        )
        .await;
    }

    /// Waits until one more attempt fails.
    pub(super) async fn notices(&self) {
        let before = self.failed();
        within(self.timeout, "an attempt fails", async || self.failed() > before).await;
    }

    /// Checks, once the outbox is empty, that there is one account and one person for each response, and nothing else.
    pub(super) async fn left_consistent_rows(self, stack: &Stack) {
        assert_eq!(self.answered(), SIGN_UPS);
        within(self.timeout, "the outbox is empty", async || {
            scalar::<i64>(&stack.database, "SELECT count(*) FROM identity.outbox").await == 0
        })
        .await;
        let answered = self.answered.into_inner();
        let mut expected: Vec<_> = answered
            .values()
            .map(|account| format!("{} {}", account.id, account.email))
            .collect();
        expected.sort_unstable();
        let accounts: Vec<String> = scalar(
            &stack.database,
            "SELECT array_agg(id || ' ' || email ORDER BY id) FROM identity.users",
        )
        .await;
        assert_eq!(accounts, expected, "the accounts are those of the responses");
        let unmatched: i64 = scalar(
            &stack.database,
            "SELECT count(*) FROM identity.users AS account FULL JOIN data.users AS person USING (id)
             WHERE account.email IS NULL OR person.created_at IS NULL",
        )
        .await;
        assert_eq!(
            unmatched, 0,
            "accounts without a person, or people without an account"
        );
        let rest: String = scalar(
            &stack.database,
            "SELECT concat_ws(' ', (SELECT count(*) FROM identity.consents), (SELECT count(*) FROM identity.requests))",
        )
        .await;
        assert_eq!(rest, format!("{} {SIGN_UPS}", 2 * SIGN_UPS), "consents, requests");

        let anonymous = stack.anonymous().unwrap();
        for account in answered.values().step_by(SIGN_UPS / 10) {
            let person = anonymous.sign_in(&account.email, PASSWORD).await.unwrap();
            assert_eq!(person.id.to_string(), account.id);
        }
    }

    /// Signs up with retries until there is a response. Every failure must be a broken connection or retryable.
    async fn retry(&self, client: &Client, request: &SignUpRequest) -> Account {
        let limit = Instant::now() + self.timeout;
        loop {
            match client.account().sign_up(request.clone()).await {
                Ok(answer) => return answer.into_inner().account.unwrap(),
                Err(status) => {
                    self.failed.set(self.failed.get() + 1);
                    assert!(is_retryable(&status), "{status:?}");
                    assert!(Instant::now() < limit, "{status:?}");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Returns whether the connection broke or the failure is retryable.
fn is_retryable(status: &Status) -> bool {
    if status.details().is_empty() {
        // The service did not send this status: no process listens, or the connection broke during the call.
        return matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
    }
    !retryable(status).is_empty()
}
