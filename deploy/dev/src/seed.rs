//! Creates test users and their messages through the API.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, anyhow};
use clap::Args;
use haven_proto::{
    data::v1::{AppendMessageRequest, SenderType},
    identity::v1::SignInRequest,
};
use haven_testkit::{Client, client::sign_up_request, random};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Response, Status};
use tonic_types::StatusExt;

use crate::{
    people::People,
    selection::{Selected, Selection},
};

/// The number of users that are created concurrently. Most of the work is password hashing, which uses every core.
const CONCURRENCY: usize = 8;

/// The time for which a call that fails with a retry delay is retried.
const RETRY_LIMIT: Duration = Duration::from_secs(60);

const NAMES: [&str; 12] = [
    "ada", "bela", "chidi", "dana", "emre", "freya", "goran", "hana", "ines", "jonas", "kofi", "lena",
];
const OPENINGS: [&str; 6] = [
    "Today",
    "This morning",
    "At lunch",
    "After class",
    "Last night",
    "On the way home",
];
const EVENTS: [&str; 8] = [
    "I said hello to somebody new",
    "I stayed at the party for an hour",
    "I asked a question in front of everybody",
    "I wanted to call a friend and did not",
    "my roommate and I talked about the dishes",
    "I joined the climbing group",
    "I froze when they looked at me",
    "we laughed about nothing at all",
];
const ANSWERS: [&str; 4] = [
    "How did that feel?",
    "What would you do differently next time?",
    "That took courage.",
    "What helped you then?",
];

/// Create test users with messages in the running installation.
#[derive(Args)]
pub(crate) struct Seed {
    #[command(flatten)]
    selection: Selection,
    /// The number of users
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    people: u32,
    /// The number of messages in each conversation, from the user and the coach in turn
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    messages: u32,
}

impl Seed {
    /// Creates the users, and stores their password for `cargo dev call --as`.
    pub(crate) async fn run(self) -> Result<()> {
        let target = self.selection.running()?;
        let password = format!("Haven-{:x}", rand::random::<u64>());
        let mut created = Vec::new();
        let outcome = self.create(&target, &password, &mut created).await;
        // Those that were created before a failure, too.
        let people = People::open(&target.directory);
        people.remember(created.iter().map(|email| (email.as_str(), password.as_str())))?;
        outcome?;
        let last = created.pop().unwrap_or_default();
        println!(
            "  Created {} users with {} messages each. One of them: {last}, password {password}\n  \
             cargo dev call ListMessages --as {last}{}",
            self.people,
            self.messages,
            self.selection.flag(),
        );
        Ok(())
    }

    /// Creates the users, and adds the email address of each to `created`.
    async fn create(&self, target: &Selected, password: &str, created: &mut Vec<String>) -> Result<()> {
        let client = |service| Client::new(&target.certificates, service, target.identity, target.data);
        // The coach's messages are appended by a backend.
        let (client, backend) = (client(None)?, client(Some("backend"))?);
        let style = "  {bar:40} {pos}/{len} {msg}, {eta} left";
        let total = u64::from(self.people) * (1 + u64::from(self.messages));
        let bar = ProgressBar::new(total).with_style(ProgressStyle::with_template(style)?);
        bar.set_message("users and messages");

        let messages = self.messages;
        let permits = Arc::new(Semaphore::new(CONCURRENCY));
        let mut people = JoinSet::new();
        for number in 0..self.people as usize {
            let permit = Arc::clone(&permits).acquire_owned().await?;
            let email = format!(
                "{}-{:08x}@example.org",
                NAMES[number % NAMES.len()],
                rand::random::<u32>()
            );
            let (client, backend) = (client.clone(), backend.clone());
            let (bar, password) = (bar.clone(), password.to_owned());
            people.spawn(async move {
                let _permit = permit;
                let token = sign_up_and_in(&client, &email, &password).await?;
                bar.inc(1);
                let clients = [&client, &backend].map(|client| client.with_token(&token));
                converse(clients, messages, &bar).await.map(|()| email)
            });
            // The first failure ends the command.
            while let Some(done) = people.try_join_next() {
                created.push(done??);
            }
        }
        while let Some(done) = people.join_next().await {
            created.push(done??);
        }
        bar.finish_and_clear();
        Ok(())
    }
}

/// Signs a user up and in, and returns the access token.
async fn sign_up_and_in(client: &Client, email: &str, password: &str) -> Result<String> {
    retry("SignUp", sign_up_request(email, password), |request| {
        let mut accounts = client.account();
        async move { accounts.sign_up(request).await }
    })
    .await?;
    let sign_in = SignInRequest {
        email: email.to_owned(),
        password: password.to_owned(),
        request_id: random::uuid().to_string(),
        ..SignInRequest::default()
    };
    let session = retry("SignIn", sign_in, |request| {
        let mut sessions = client.session();
        async move { sessions.sign_in(request).await }
    });
    Ok(session.await?.access_token)
}

/// Appends `messages` messages, from the user and the coach in turn.
async fn converse(clients: [Result<Client>; 2], messages: u32, bar: &ProgressBar) -> Result<()> {
    let [person, coach] = clients;
    let (person, coach) = (person?.conversation(), coach?.conversation());
    for number in 0..messages {
        let pick = |texts: &[&'static str]| texts[rand::random_range(0..texts.len())];
        let (conversation, sender_type, text) = match number % 2 {
            0 => (
                &person,
                SenderType::User,
                format!("{} {}.", pick(&OPENINGS), pick(&EVENTS)),
            ),
            _ => (&coach, SenderType::Coach, pick(&ANSWERS).to_owned()),
        };
        let request = AppendMessageRequest {
            sender_type: sender_type.into(),
            text,
            message_id: String::new(),
            request_id: random::uuid().to_string(),
        };
        retry("AppendMessage", request, |request| {
            let mut conversation = conversation.clone();
            async move { conversation.append_message(request).await }
        })
        .await?;
        bar.inc(1);
    }
    Ok(())
}

/// Sends `request` with the same request id until it succeeds, or fails without a retry delay, or [`RETRY_LIMIT`] is
/// reached.
async fn retry<T: Clone, A, F>(name: &str, request: T, call: impl Fn(T) -> F) -> Result<A>
where
    F: Future<Output = Result<Response<A>, Status>>,
{
    let limit = Instant::now() + RETRY_LIMIT;
    loop {
        let status = match call(request.clone()).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        let retry_info = status.get_details_retry_info();
        match retry_info.and_then(|info| info.retry_delay) {
            Some(delay) if Instant::now() + delay < limit => sleep(delay).await,
            _ => return Err(failure(name, &status)),
        }
    }
}

/// Returns an error with the reason and the request id of a failed call.
fn failure(name: &str, status: &Status) -> anyhow::Error {
    let details = status.get_error_details();
    let reason = details
        .error_info()
        .map_or_else(|| format!("{:?}", status.code()), |info| info.reason.clone());
    let request = details
        .request_info()
        .map(|info| format!(", request id {}", info.request_id));
    anyhow!(
        "{name} failed: {reason}{}: {}\nThe users and messages that were created are kept. \
         It is safe to run this command again: it creates other users.",
        request.unwrap_or_default(),
        status.message()
    )
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    fn refused(reason: &str, delay: Option<Duration>) -> Status {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, "haven", []);
        details.set_request_info("a-request", "");
        details.set_retry_info(delay);
        Status::with_error_details(Code::Unavailable, "not now", details)
    }

    #[tokio::test]
    async fn a_failure_with_a_retry_delay_is_retried_with_the_same_request() {
        let sent = RefCell::new(Vec::new());
        let answer = retry("Call", "an id", |request| {
            sent.borrow_mut().push(request);
            let done = sent.borrow().len() == 3;
            let refused = refused("OVERLOADED", Some(Duration::from_millis(1)));
            async move { if done { Ok(Response::new(7)) } else { Err(refused) } }
        });
        assert_eq!(answer.await.unwrap(), 7);
        assert_eq!(*sent.borrow(), ["an id"; 3]);
    }

    #[tokio::test]
    async fn a_failure_that_is_not_retried_is_reported_with_its_reason_and_request_id() {
        for delay in [None, Some(RETRY_LIMIT)] {
            let call = |()| async move { Err::<Response<()>, _>(refused("RATE_LIMITED", delay)) };
            let error = retry("SignUp", (), call).await.unwrap_err().to_string();
            assert!(
                error.starts_with("SignUp failed: RATE_LIMITED, request id a-request: not now\n"),
                "{error}"
            );
        }
    }
}
