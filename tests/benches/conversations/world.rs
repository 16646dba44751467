//! A Haven with people in it who have been there for a while.
//!
//! What is in a person's rows follows from the person's number and the message's, and both stand in the ids as decimal
//! digits, so that pgbench can name what is there.

use std::{collections::BTreeMap, fmt::Write, ops::RangeInclusive, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use haven_data::domain::{key_ring::KeyRing, message::cell, sealing::Sealed};
use haven_platform::{call::UserId, config::keyed_secrets};
use haven_testkit::{Stack, secrets::SUPERUSER};
use uuid::Uuid;

use super::measure::{CONNECTIONS, copy, tokens};

/// How many messages each person has to begin with.
pub(crate) const MESSAGES: u32 = 1000;

/// How many characters a message has that is not particularly short or long.
pub(crate) const TYPICAL: usize = 200;

/// People's numbers begin here, so that all have four digits.
const FIRST: u32 = 1000;

/// What people say.
const WORDS: &str = "We had the second meeting of the reading group today and I asked a question in front of everybody, \
    which I had put off for weeks. My voice shook a little at first, but the others were kind, and afterwards two of them \
    came over to talk about the book. On the way home I wondered why it had seemed so large before. Next week I would \
    like to suggest that we meet in the park.";

/// What comes after the messages, in the order in which it refers to each other: a job for each 25 of a person's own
/// messages, done long ago, and what is kept of each request.
const REST: [&str; 3] = [
    "INSERT INTO data.conversation_counters (user_id, last_number)
     SELECT user_id, max(number) FROM data.conversations GROUP BY user_id",
    "INSERT INTO data.analysis_jobs
         (user_id, id, first_number, last_number, requested, state, priority, attempts, start_after, created_at, finished_at)
     SELECT user_id, gen_random_uuid(), number - 48, number, false, 'done', 0, 1, created_at, created_at, created_at
     FROM data.conversations WHERE number % 50 = 49",
    "INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
     SELECT user_id, gen_random_uuid(), 'AppendMessage', sha256(uuid_send(id)),
         jsonb_build_object('message_id', id, 'number', number, 'created_at', created_at), created_at
     FROM data.conversations",
];

/// Both services on a cluster of their own, with one person whose pages are measured, and others.
pub(crate) struct World {
    pub(crate) stack: Stack,
    others: u32,
    keys: KeyRing,
    tokens: Arc<BTreeMap<u32, String>>,
}

impl World {
    /// Starts the services, and stores [`MESSAGES`] messages of the measured person and of each of so many others.
    pub(crate) async fn start(others: u32) -> Result<Self> {
        let stack = Stack::builder()
            .durable_cluster()
            .variable("data", "DATABASE_POOL_SIZE", CONNECTIONS.to_string())
            .start()
            .await?;
        let keys = stack.data.variables["MESSAGE_KEYS"].clone();
        let keys = keyed_secrets(&keys.into()).map_err(anyhow::Error::msg)?;
        let mut world = Self {
            stack,
            others,
            keys: KeyRing::new(&keys)?,
            tokens: Arc::default(),
        };
        let people = FIRST..=FIRST + others;
        let tokens = tokens(&world.stack, people.clone().map(person_id)).await?;
        world.tokens = Arc::new(people.zip(tokens).collect());
        let begin = Instant::now();
        world.load().await.context("loading")?;
        println!(
            "{} messages of {} people loaded in {:.0} s",
            (others + 1) * MESSAGES,
            others + 1,
            begin.elapsed().as_secs_f64()
        );
        Ok(world)
    }

    /// The number of the person whose pages are measured, and who says nothing more.
    pub(crate) fn measured(&self) -> u32 {
        FIRST
    }

    /// The numbers of everybody else.
    pub(crate) fn others(&self) -> RangeInclusive<u32> {
        FIRST + 1..=FIRST + self.others
    }

    pub(crate) fn rows_of_others(&self) -> u32 {
        self.others * MESSAGES
    }

    /// Everybody's access tokens.
    pub(crate) fn tokens(&self) -> Arc<BTreeMap<u32, String>> {
        Arc::clone(&self.tokens)
    }

    /// A typical message, sealed as somebody's.
    pub(crate) fn sealed(&self) -> Sealed {
        self.seal(FIRST, 1, TYPICAL, Utc::now())
    }

    fn seal(&self, person: u32, number: u32, length: usize, at: DateTime<Utc>) -> Sealed {
        let cell = cell(UserId::new(person_id(person)), message_id(person, number));
        self.keys.seal(cell, words(length), at)
    }

    async fn load(&self) -> Result<()> {
        let mut superuser = self.stack.database.connect(SUPERUSER).await?;
        let now = Utc::now();
        let mut people = String::new();
        for person in FIRST..=FIRST + self.others {
            writeln!(people, "{}\t{}", person_id(person), now.to_rfc3339())?;
        }
        let users = "COPY data.users (id, created_at) FROM STDIN";
        copy(&mut superuser, users, [Ok(people)]).await?;
        let messages = "COPY data.conversations (user_id, id, number, sender_type, message_text, key_id, created_at, \
                        updated_at) FROM STDIN";
        // Everybody's first messages, then everybody's second: as they come, and therefore scattered over the table.
        let rows = (1..=MESSAGES).map(|number| self.rows(number, now));
        copy(&mut superuser, messages, rows).await?;
        for statement in REST {
            sqlx::raw_sql(statement).execute(&mut superuser).await?;
        }
        for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
            sqlx::raw_sql(statement).execute(&mut superuser).await?;
        }
        Ok(())
    }

    /// Everybody's message of this number, as COPY reads it: every other one is the coach's.
    fn rows(&self, number: u32, now: DateTime<Utc>) -> Result<String> {
        let at = now - TimeDelta::minutes((MESSAGES - number).into());
        let sender = if number % 2 == 1 { "user" } else { "coach" };
        let mut rows = String::new();
        for person in FIRST..=FIRST + self.others {
            let (id, message) = (person_id(person), message_id(person, number));
            // From 40 to 360 characters, as evenly as numbers fall.
            let length = 40 + (person * 37 + number * 91) as usize % (2 * (TYPICAL - 40) + 1);
            let Sealed { token, key_id } = self.seal(person, number, length, at);
            let at = at.to_rfc3339();
            writeln!(
                rows,
                "{id}\t{message}\t{number}\t{sender}\t{token}\t{key_id}\t{at}\t{at}"
            )?;
        }
        Ok(rows)
    }
}

/// What somebody says in so many characters.
pub(crate) fn words(length: usize) -> &'static str {
    &WORDS[..length.min(WORDS.len())]
}

/// The id of the person with this number.
pub(crate) fn person_id(person: u32) -> Uuid {
    id(&format!("{PERSON}{person}"))
}

/// The id of a person's message: of the one with this number in their conversation.
pub(crate) fn message_id(person: u32, number: u32) -> Uuid {
    id(&format!("{MESSAGE}{person}{}", FIRST + number))
}

/// The numbers in the ids of a person's first messages.
pub(crate) fn messages() -> RangeInclusive<u32> {
    FIRST + 1..=FIRST + MESSAGES
}

/// What stands before a person's number in the person's id.
pub(crate) const PERSON: &str = "00000000-0000-7000-8000-10000000";

/// What stands before the two numbers in a message's id: the person's, and one of [`messages`].
pub(crate) const MESSAGE: &str = "00000000-0000-7000-8000-2000";

fn id(digits: &str) -> Uuid {
    digits.parse().expect("decimal digits are hexadecimal ones")
}
