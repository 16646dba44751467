//! Invented people and their messages, through the real API.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, anyhow};
use clap::Args;
use haven_proto::{
    data::v1::{AppendMessageRequest, SenderType},
    identity::v1::SignInRequest,
};
use haven_testkit::{Client, certificates::Certificates, client::sign_up_request, random, state};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Response, Status};
use tonic_types::StatusExt;

use crate::{STATE, listeners::Ports};

/// How many people are made at once: hashing their passwords is the work, and every core does it.
const AT_ONCE: usize = 8;

/// For how long a call is made again that says when to try again.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// Fill what is running with invented people and their messages.
#[derive(Args)]
pub(crate) struct Seed {
    /// How many people
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    people: u32,
    /// How many messages each of them writes and is written
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    messages: u32,
}

impl Seed {
    pub(crate) async fn run(self) -> Result<()> {
        let ports = Ports::running()?;
        let certificates = Certificates::keep(&state::directory(STATE).join("certificates"))?;
        let client = |service| Client::new(&certificates, service, ports.identity(), ports.data());
        // What the coach says comes from a backend.
        let (client, backend) = (client(None)?, client(Some("backend"))?);
        let style = "  {bar:40} {pos}/{len} {msg}, {eta} left";
        let total = u64::from(self.people) * (1 + u64::from(self.messages));
        let bar = ProgressBar::new(total).with_style(ProgressStyle::with_template(style)?);
        bar.set_message("people and messages");

        let password = format!("Haven-{:x}", rand::random::<u64>());
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut people = JoinSet::new();
        for number in 0..self.people as usize {
            let place = Arc::clone(&places).acquire_owned().await?;
            let email = format!(
                "{}-{:08x}@example.org",
                NAMES[number % NAMES.len()],
                rand::random::<u32>()
            );
            let (client, backend) = (client.clone(), backend.clone());
            let (bar, password) = (bar.clone(), password.clone());
            people.spawn(async move {
                let _place = place;
                let token = join(&client, &email, &password).await?;
                bar.inc(1);
                let speakers = [&client, &backend].map(|client| client.with_token(&token));
                converse(speakers, self.messages, &bar).await.map(|()| email)
            });
            // The first failure ends it all.
            while let Some(done) = people.try_join_next() {
                done??;
            }
        }
        let mut last = String::new();
        while let Some(done) = people.join_next().await {
            last = done??;
        }
        bar.finish_and_clear();
        let Self { people, messages } = self;
        println!(
            "  {people} people, with {messages} messages each. One of them: {last}, password {password}"
        );
        Ok(())
    }
}

/// Signs a person up, and in. Answers the token.
async fn join(client: &Client, email: &str, password: &str) -> Result<String> {
    persist("SignUp", sign_up_request(email, password), |request| {
        let mut accounts = client.account();
        async move { accounts.sign_up(request).await }
    })
    .await?;
    let sign_in = SignInRequest {
        email: email.to_owned(),
        password: password.to_owned(),
        request_id: random::uuid().to_string(),
    };
    let session = persist("SignIn", sign_in, |request| {
        let mut sessions = client.session();
        async move { sessions.sign_in(request).await }
    });
    Ok(session.await?.access_token)
}

/// The person says something, and the coach, in turn.
async fn converse(speakers: [Result<Client>; 2], messages: u32, bar: &ProgressBar) -> Result<()> {
    let [person, coach] = speakers;
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
        persist("AppendMessage", request, |request| {
            let mut conversation = conversation.clone();
            async move { conversation.append_message(request).await }
        })
        .await?;
        bar.inc(1);
    }
    Ok(())
}

/// Sends a request, under the same request id, until it is answered or the answer does not invite to try again.
async fn persist<T: Clone, A, F>(name: &str, request: T, call: impl Fn(T) -> F) -> Result<A>
where
    F: Future<Output = Result<Response<A>, Status>>,
{
    let limit = Instant::now() + PATIENCE;
    loop {
        let status = match call(request.clone()).await {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        let retry = status.get_details_retry_info();
        match retry.and_then(|retry| retry.retry_delay) {
            Some(delay) if Instant::now() + delay < limit => sleep(delay).await,
            _ => return Err(failure(name, &status)),
        }
    }
}

/// What somebody who seeds has to know of a call that failed.
fn failure(name: &str, status: &Status) -> anyhow::Error {
    let details = status.get_error_details();
    let reason = details
        .error_info()
        .map_or_else(|| format!("{:?}", status.code()), |info| info.reason.clone());
    let request = details
        .request_info()
        .map(|info| format!(", request id {}", info.request_id));
    anyhow!(
        "{name} failed: {reason}{}: {}\nWhat was stored stays. It is safe to run this again: it invents other people.",
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
    async fn what_says_when_to_try_again_is_tried_again_as_it_was() {
        let sent = RefCell::new(Vec::new());
        let answer = persist("Call", "an id", |request| {
            sent.borrow_mut().push(request);
            let done = sent.borrow().len() == 3;
            let refused = refused("OVERLOADED", Some(Duration::from_millis(1)));
            async move { if done { Ok(Response::new(7)) } else { Err(refused) } }
        });
        assert_eq!(answer.await.unwrap(), 7);
        assert_eq!(*sent.borrow(), ["an id"; 3]);
    }

    #[tokio::test]
    async fn what_does_not_is_told_with_its_reason_and_its_request() {
        for delay in [None, Some(PATIENCE)] {
            let call = |()| async move { Err::<Response<()>, _>(refused("RATE_LIMITED", delay)) };
            let error = persist("SignUp", (), call).await.unwrap_err().to_string();
            assert!(
                error.starts_with("SignUp failed: RATE_LIMITED, request id a-request: not now\n"),
                "{error}"
            );
        }
    }
}
