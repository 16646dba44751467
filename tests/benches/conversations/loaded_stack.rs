//! An installation with people and messages.
//!
//! Each person and each message has a number. The ids contain these numbers as decimal digits, so that pgbench can
//! generate the ids of existing rows.

use std::{collections::BTreeMap, fmt::Write, ops::RangeInclusive, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use haven_data::domain::{key_ring::KeyRing, message::cell, sealing::Sealed};
use haven_platform::{call::UserId, config::keyed_secrets};
use haven_testkit::{Stack, secrets::SUPERUSER};
use uuid::Uuid;

use super::{
    foreign,
    measure::{
        CONNECTIONS,
        build::Builds,
        load::{copy, tokens},
        options::Options,
    },
};

/// The initial number of messages of each person.
pub(crate) const MESSAGES: u32 = 1000;

/// The number of characters of a typical message.
pub(crate) const TYPICAL_LENGTH: usize = 200;

/// The first number of a person. All numbers have four digits.
const FIRST_NUMBER: u32 = 1000;

/// The text of the messages.
const WORDS: &str = "We had the second meeting of the reading group today and I asked a question in front of everybody, \
    which I had put off for weeks. My voice shook a little at first, but the others were kind, and afterwards two of them \
    came over to talk about the book. On the way home I wondered why it had seemed so large before. Next week I would \
    like to suggest that we meet in the park.";

/// The statements that create further rows from the messages, in the order of their references: the counters, a
/// finished job for every 25 messages of a person, and the stored requests. `:foreign` is the first id of a foreign person.
const DERIVED_ROWS: [&str; 3] = [
    "INSERT INTO data.conversation_counters (user_id, last_number)
     SELECT user_id, max(number) FROM data.conversations WHERE user_id < ':foreign' GROUP BY user_id",
    "INSERT INTO data.analysis_jobs
         (user_id, id, first_number, last_number, requested, state, priority, attempts, start_after, created_at, finished_at)
     SELECT user_id, gen_random_uuid(), number - 48, number, false, 'done', 0, 1, created_at, created_at, created_at
     FROM data.conversations WHERE number % 50 = 49 AND user_id < ':foreign'",
    "INSERT INTO data.requests (user_id, id, method, payload_mac, answer, created_at)
     SELECT user_id, gen_random_uuid(), 'AppendMessage', sha256(uuid_send(id)),
         jsonb_build_object('message_id', id, 'number', number, 'created_at', created_at), created_at
     FROM data.conversations WHERE user_id < ':foreign'",
];

/// The two services on a separate cluster, with one person for the measured pages, and other people.
pub(crate) struct LoadedStack {
    /// The services and their database.
    pub(crate) builds: Builds,
    others: u32,
    /// The number of people with [`MESSAGES`] messages who never call.
    foreign: u32,
    keys: KeyRing,
    tokens: Arc<BTreeMap<u32, String>>,
}

impl LoadedStack {
    /// Starts the services, and stores [`MESSAGES`] messages of the measured person and of each of `others` other
    /// people, and `foreign_rows` messages of people who never call.
    pub(crate) async fn start(others: u32, foreign_rows: u32, options: &Options) -> Result<Self> {
        let stack = Stack::builder()
            .durable_cluster()
            .variable("data", "DATABASE_POOL_SIZE", CONNECTIONS.to_string())
            .start()
            .await?;
        let keys = stack.data.variables["MESSAGE_KEYS"].clone();
        let keys = keyed_secrets(&keys.into()).map_err(anyhow::Error::msg)?;
        let tokens = tokens(&stack, (FIRST_NUMBER..=FIRST_NUMBER + others).map(person_id)).await?;
        let loaded = Self {
            builds: Builds::start(stack, options).await?,
            others,
            foreign: foreign_rows / MESSAGES,
            keys: KeyRing::new(&keys)?,
            tokens: Arc::new((FIRST_NUMBER..).zip(tokens).collect()),
        };
        let begin = Instant::now();
        loaded.load().await.context("loading")?;
        println!(
            "{} messages of {} people loaded in {:.0} s",
            loaded.rows_of_others() + MESSAGES,
            others + 1 + loaded.foreign,
            begin.elapsed().as_secs_f64()
        );
        Ok(loaded)
    }

    /// Returns the number of the person for the measured pages, who appends no messages.
    pub(crate) fn measured(&self) -> u32 {
        FIRST_NUMBER
    }

    /// Returns the numbers of all other people.
    pub(crate) fn others(&self) -> RangeInclusive<u32> {
        FIRST_NUMBER + 1..=FIRST_NUMBER + self.others
    }

    /// Returns the initial number of messages of all other people.
    pub(crate) fn rows_of_others(&self) -> u32 {
        (self.others + self.foreign) * MESSAGES
    }

    /// Returns the services of this build, and the database.
    pub(crate) fn stack(&self) -> &Stack {
        &self.builds.stack
    }

    /// Returns the access tokens of all people, by number.
    pub(crate) fn tokens(&self) -> Arc<BTreeMap<u32, String>> {
        Arc::clone(&self.tokens)
    }

    /// Returns a sealed message of typical length.
    pub(crate) fn sealed(&self) -> Sealed {
        self.seal(FIRST_NUMBER, 1, TYPICAL_LENGTH, Utc::now())
    }

    fn seal(&self, person: u32, number: u32, length: usize, at: DateTime<Utc>) -> Sealed {
        let cell = cell(UserId::new(person_id(person)), message_id(person, number));
        self.keys.seal(cell, words(length), at)
    }

    async fn load(&self) -> Result<()> {
        let mut superuser = self.stack().database.connect(SUPERUSER).await?;
        let now = Utc::now();
        let mut people = String::new();
        for person in FIRST_NUMBER..=FIRST_NUMBER + self.others {
            writeln!(people, "{}\t{}", person_id(person), now.to_rfc3339())?;
        }
        let users = "COPY data.users (id, created_at) FROM STDIN";
        copy(&mut superuser, users, [Ok(people)]).await?;
        let messages = "COPY data.conversations (user_id, id, number, sender_type, message_text, key_id, created_at, \
                        updated_at) FROM STDIN";
        // The first messages of all people, then the second ones: so the messages of one person are scattered over the
        // table.
        if self.foreign == 0 {
            let rows = (1..=MESSAGES).map(|number| self.rows(number, now));
            copy(&mut superuser, messages, rows).await?;
        } else {
            foreign::insert_people(&mut superuser, self.foreign).await?;
            for number in 1..=MESSAGES {
                copy(&mut superuser, messages, [self.rows(number, now)]).await?;
                foreign::insert_messages(&mut superuser, self.foreign, number, &self.sealed()).await?;
            }
        }
        for statement in DERIVED_ROWS {
            let statement = statement.replace(":foreign", foreign::FIRST_ID);
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
                .execute(&mut superuser)
                .await?;
        }
        for statement in ["VACUUM (ANALYZE)", "CHECKPOINT"] {
            sqlx::raw_sql(statement).execute(&mut superuser).await?;
        }
        Ok(())
    }

    /// Returns the message `number` of all people as input for COPY. Every second message is from the coach.
    fn rows(&self, number: u32, now: DateTime<Utc>) -> Result<String> {
        let at = now - TimeDelta::minutes((MESSAGES - number).into());
        let sender = if number % 2 == 1 { "user" } else { "coach" };
        let mut rows = String::new();
        for person in FIRST_NUMBER..=FIRST_NUMBER + self.others {
            let (id, message) = (person_id(person), message_id(person, number));
            // 40 to 360 characters, about uniformly distributed.
            let length = 40 + (person * 37 + number * 91) as usize % (2 * (TYPICAL_LENGTH - 40) + 1);
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

/// Returns a text of `length` characters.
pub(crate) fn words(length: usize) -> &'static str {
    &WORDS[..length.min(WORDS.len())]
}

/// Returns the id of the person with this number.
pub(crate) fn person_id(person: u32) -> Uuid {
    id(&format!("{PERSON_PREFIX}{person}"))
}

/// Returns the id of the message with this number in the conversation of `person`.
pub(crate) fn message_id(person: u32, number: u32) -> Uuid {
    id(&format!("{MESSAGE_PREFIX}{person}{}", FIRST_NUMBER + number))
}

/// Returns the range of numbers in the ids of a person's initial messages.
pub(crate) fn messages() -> RangeInclusive<u32> {
    FIRST_NUMBER + 1..=FIRST_NUMBER + MESSAGES
}

/// The prefix of a person's id, before the person's number.
pub(crate) const PERSON_PREFIX: &str = "00000000-0000-7000-8000-10000000";

/// The prefix of a message's id, before the person's number and a number of [`messages`].
pub(crate) const MESSAGE_PREFIX: &str = "00000000-0000-7000-8000-2000";

fn id(digits: &str) -> Uuid {
    digits.parse().expect("decimal digits are hexadecimal digits")
}
