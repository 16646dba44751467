//! Many people who sign up at once, each of them trying again, under the same request id, until they have an answer.

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

/// How many sign up.
pub(super) const SIGN_UPS: usize = 200;

/// How many of them at once.
const CLIENTS: usize = 16;

/// How long a client waits before it tries again. RetryInfo says a second, which nobody here has.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a client tries before it gives up, and for how long anything is waited for, if nothing else is said.
const LONG_TIMEOUT: Duration = Duration::from_secs(40);

const PASSWORD: &str = "Correct-Horse-7-Battery";

/// The crowd, and what it has been told so far.
pub(super) struct Crowd {
    clients: Vec<Client>,
    patience: Duration,
    begun: Cell<usize>,
    failed: Cell<usize>,
    answered: RefCell<BTreeMap<String, Account>>,
}

impl Crowd {
    /// Clients of `stack`, each with a connection of its own.
    pub(super) fn new(stack: &Stack) -> Self {
        Self::with_long_timeout(stack, LONG_TIMEOUT)
    }

    /// The same, with as much patience.
    pub(super) fn with_long_timeout(stack: &Stack, patience: Duration) -> Self {
        Self {
            patience,
            clients: (0..CLIENTS).map(|_| stack.anonymous().unwrap()).collect(),
            begun: Cell::new(0),
            failed: Cell::new(0),
            answered: RefCell::default(),
        }
    }

    /// Everybody signs up, until everybody has an account.
    pub(super) async fn sign_up(&self) {
        join_all(self.clients.iter().map(|client| async {
            while self.begun.get() < SIGN_UPS {
                let number = self.begun.replace(self.begun.get() + 1);
                let request = sign_up_request(&format!("person-{number}@example.org"), PASSWORD);
                let account = self.retry(client, &request).await;
                assert_eq!(account.email, request.email);
                self.answered.borrow_mut().insert(account.email.clone(), account);
            }
        }))
        .await;
    }

    /// How many have an answer.
    pub(super) fn answered(&self) -> usize {
        self.answered.borrow().len()
    }

    /// How many attempts have failed.
    pub(super) fn failed(&self) -> usize {
        self.failed.get()
    }

    /// Waits until `count` have an answer.
    pub(super) async fn has_answers(&self, count: usize) {
        let what = format!("{count} sign-ups are answered");
        within(self.patience, &what, async || self.answered() >= count).await;
    }

    /// Waits, while data is paused, until the accounts of a quarter of the crowd are stored and not answered. The rest
    /// is anywhere else.
    ///
    /// identity waits for data between the two. That is the moment that matters most, and too short to be hit by chance.
    pub(super) async fn waits_for_data(&self, stack: &Stack) {
        within(
            self.patience,
            "accounts are stored and not answered",
            async || {
                let stored: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.users").await;
                stored as usize >= self.answered() + CLIENTS / 4
            },
        )
        .await;
    }

    /// Waits until another attempt fails than those which did.
    pub(super) async fn notices(&self) {
        let before = self.failed();
        within(self.patience, "somebody notices", async || self.failed() > before).await;
    }

    /// Looks at what is left once everything is told: an account and a person for each answer, and nothing else.
    pub(super) async fn left_everything_in_order(self, stack: &Stack) {
        assert_eq!(self.answered(), SIGN_UPS);
        within(self.patience, "data is told of everybody", async || {
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
        assert_eq!(accounts, expected, "the accounts are those that were answered");
        let unlike: i64 = scalar(
            &stack.database,
            "SELECT count(*) FROM identity.users AS account FULL JOIN data.users AS person USING (id)
             WHERE account.email IS NULL OR person.created_at IS NULL",
        )
        .await;
        assert_eq!(
            unlike, 0,
            "accounts without a person, or people without an account"
        );
        let rest: String = scalar(
            &stack.database,
            "SELECT concat_ws(' ', (SELECT count(*) FROM identity.consents), (SELECT count(*) FROM identity.requests))",
        )
        .await;
        assert_eq!(rest, format!("{} {SIGN_UPS}", 2 * SIGN_UPS), "consents, requests");

        let nobody = stack.anonymous().unwrap();
        for account in answered.values().step_by(SIGN_UPS / 10) {
            let person = nobody.sign_in(&account.email, PASSWORD).await.unwrap();
            assert_eq!(person.id.to_string(), account.id);
        }
    }

    /// Signs up until there is an answer. Whatever fails meanwhile is a connection that broke, or says that it may be
    /// tried again.
    async fn retry(&self, client: &Client, request: &SignUpRequest) -> Account {
        let limit = Instant::now() + self.patience;
        loop {
            match client.account().sign_up(request.clone()).await {
                Ok(answer) => return answer.into_inner().account.unwrap(),
                Err(status) => {
                    self.failed.set(self.failed.get() + 1);
                    assert!(may_be_tried_again(&status), "{status:?}");
                    assert!(Instant::now() < limit, "{status:?}");
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn may_be_tried_again(status: &Status) -> bool {
    if status.details().is_empty() {
        // Not an answer: nobody listens, or the connection broke in the middle of the call.
        return matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
    }
    !retryable(status).is_empty()
}
