//! Invented people and their messages, through the real API.

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use haven_proto::data::v1::{AppendMessageRequest, SenderType};
use haven_testkit::{Client, certificates::Certificates, random, state};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{STATE, listeners::Ports};

/// How many people are made at once: hashing their passwords is the work, and every core does it.
const AT_ONCE: usize = 8;

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
                let person = client.sign_up_and_in(&email, &password).await?;
                bar.inc(1);
                let speakers = [&client, &backend].map(|client| client.with_token(&person.token));
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

/// The person says something, and the coach, in turn.
async fn converse(speakers: [Result<Client>; 2], messages: u32, bar: &ProgressBar) -> Result<()> {
    let [person, coach] = speakers;
    let (mut person, mut coach) = (person?.conversation(), coach?.conversation());
    for number in 0..messages {
        let pick = |texts: &[&'static str]| texts[rand::random_range(0..texts.len())];
        let (conversation, sender_type, text) = match number % 2 {
            0 => (
                &mut person,
                SenderType::User,
                format!("{} {}.", pick(&OPENINGS), pick(&EVENTS)),
            ),
            _ => (&mut coach, SenderType::Coach, pick(&ANSWERS).to_owned()),
        };
        let request = AppendMessageRequest {
            sender_type: sender_type.into(),
            text,
            message_id: String::new(),
            request_id: random::uuid().to_string(),
        };
        conversation
            .append_message(request)
            .await
            .context("AppendMessage")?;
        bar.inc(1);
    }
    Ok(())
}
