//! The service's transactions, as pgbench runs them.
//!
//! Each of pgbench's connections has people of its own, and goes from one to the next, and then from one record, or block
//! of records, to the next: so it knows without asking which version each has.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use haven_testkit::secrets::SUPERUSER;
use sqlx::AssertSqlSafe;

use super::{
    measure::{BEGIN, CONNECTIONS, LOGIN, statement},
    operation::Operation,
    world::{BLOCK, BYTES, DEVICE, FIRST, FIRST_PLACE, PERSON, RECORD, RECORDS, World},
};

/// A nonce that nobody has used.
const NONCE: &str = "substr(sha256(uuid_send(gen_random_uuid())), 1, 24)";

/// A transaction of one person. Where `:person`, `:place`, `:block` and `:version` stand, pgbench puts numbers.
pub(crate) struct Transaction {
    pub(crate) operation: Operation,
    people: Range<u32>,
    begin: Vec<String>,
    prepare: String,
    execute: String,
}

impl Transaction {
    /// The one that serves `operation` in `world`. Fails when the service has no such statement any more, or one that
    /// takes something else.
    pub(crate) fn of(operation: Operation, world: &World) -> Result<Self> {
        let person_id = format!("{PERSON}:person");
        let (name, arguments, people) = match operation {
            Operation::Update => (
                "UpdateRecord, and CreateRecord and DeleteRecord",
                update(&person_id),
                world.updated(),
            ),
            Operation::Push => ("PushChanges", push(&person_id), world.pushed()),
        };
        let statement = statement(name, arguments.len())?;
        Ok(Self {
            operation,
            people,
            begin: BEGIN.map(|part| part.replace(":person_id", &person_id)).to_vec(),
            prepare: format!("PREPARE call AS {statement}"),
            execute: format!("EXECUTE call({})", arguments.join(", ")),
        })
    }

    /// As pgbench reads it. Each connection prepares once, and `:prepared` tells it whether it did. `:turn` counts what it
    /// has done, in this run and in those before.
    pub(crate) fn script(&self) -> String {
        let Self { prepare, execute, .. } = self;
        let begin = self.begin.join(" \\; ");
        let (first, each) = (self.people.start, self.people_each());
        let before: String = (0..CONNECTIONS)
            .map(|client| format!(" when :client_id = {client} then :turn{client}"))
            .collect();
        let round = match self.operation {
            Operation::Update => RECORDS,
            Operation::Push => RECORDS / BLOCK,
        };
        let (place, block) = match self.operation {
            Operation::Update => (
                format!("{FIRST_PLACE} + (:turn / {each}) % {BLOCK}"),
                format!("{FIRST} + (:turn / {each}) % {round} / {BLOCK}"),
            ),
            Operation::Push => (
                FIRST_PLACE.to_string(),
                format!("{FIRST} + (:turn / {each}) % {round}"),
            ),
        };
        format!(
            "\\if :prepared = 0\n\\set turn case{before} else 0 end\n\\endif\n\
             \\set person {first} + :client_id + {CONNECTIONS} * (:turn % {each})\n\
             \\set place {place}\n\\set block {block}\n\
             \\set version 1 + :turn / ({each} * {round})\n\
             {begin};\n\\if :prepared = 0\n{prepare};\n\\set prepared 1\n\\endif\n{execute};\nCOMMIT;\n\
             \\set turn :turn + 1\n"
        )
    }

    /// How many people each connection has.
    fn people_each(&self) -> u32 {
        (self.people.end - self.people.start) / CONNECTIONS
    }

    /// What each connection has done so far in `world`, as variables of the script: by the versions that it made.
    pub(crate) async fn turns(&self, world: &World) -> Result<Vec<String>> {
        let done = self.done(world).await?.into_iter();
        Ok(done
            .map(|(client, turn)| format!("turn{client}={turn}"))
            .collect())
    }

    /// Fails unless pgbench's connections have really done so much in all: what they find would not be what they believe.
    pub(crate) async fn check_done(&self, world: &World, transactions: u64) -> Result<()> {
        let done: i64 = self.done(world).await?.into_iter().map(|(_, turn)| turn).sum();
        ensure!(
            u64::try_from(done)? == transactions,
            "{}: {done} of pgbench's {transactions} transactions were applied",
            self.operation
        );
        Ok(())
    }

    /// How many transactions each connection has done.
    async fn done(&self, world: &World) -> Result<Vec<(i32, i64)>> {
        let Range { start, end } = self.people;
        let sql = format!(
            "SELECT (number - {start}) % {CONNECTIONS}, (sum(version - 1) / {})::bigint
             FROM (SELECT right(user_id::text, 4)::integer AS number, version FROM data.encrypted_cycle_data) AS records
             WHERE number >= {start} AND number < {end}
             GROUP BY 1",
            self.operation.changes()
        );
        let mut superuser = world.stack.database.connect(SUPERUSER).await?;
        let done = sqlx::query_as(AssertSqlSafe(sql))
            .fetch_all(&mut superuser)
            .await?;
        ensure!(done.len() == CONNECTIONS as usize, "{done:?}");
        Ok(done)
    }

    /// Fails unless the transaction does in `world` what the service would do; and leaves nothing behind.
    pub(crate) async fn check(&self, world: &World) -> Result<()> {
        let Self { prepare, execute, .. } = self;
        let begin = self.begin.join("; ");
        let count = "SELECT sum(version) FROM data.encrypted_cycle_data WHERE user_id = auth.uid()";
        let counted = |wanted: u32| format!("DO $$ BEGIN ASSERT ({count}) = {wanted}; END $$");
        let sql = format!(
            "{begin}; {}; {prepare}; {execute}; {}; ROLLBACK",
            counted(RECORDS),
            counted(RECORDS + self.operation.changes())
        )
        .replace(":person", &self.people.start.to_string())
        .replace(":place", &FIRST_PLACE.to_string())
        .replace(":block", &FIRST.to_string())
        .replace(":version", "1");
        let mut connection = world.stack.database.connect(LOGIN).await?;
        let ran = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
        ran.with_context(|| self.operation.to_string())?;
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    format!("'{text}'")
}

fn bytes(byte: &str, count: usize) -> String {
    format!("'\\x{}'", byte.repeat(count))
}

/// A value of `data.cycle_change`: the record `record` gets new content. The conflict's id is `conflict`.
fn change(record: &str, conflict: &str) -> String {
    format!(
        "ROW('{record}', :version, false, {}, 1, 'xchacha20_poly1305', 1, {NONCE}, {}, 19456, 2, 1, 1, now(), {conflict})\
         ::data.cycle_change",
        bytes("a5", BYTES),
        bytes("5a", 16),
    )
}

/// The arguments of UpdateRecord's statement.
fn update(person_id: &str) -> Vec<String> {
    let text = |text: &str| text.to_owned();
    vec![
        quoted(person_id),
        text("gen_random_uuid()"),
        text("'UpdateRecord'"),
        bytes("5a", 32),
        quoted(&format!("{DEVICE}:person")),
        change(&format!("{RECORD}:place:person:block"), "NULL"),
        text("now()"),
    ]
}

/// The arguments of PushChanges' statement.
fn push(person_id: &str) -> Vec<String> {
    let text = |text: &str| text.to_owned();
    let changes = (0..BLOCK).map(|place| {
        let record = format!("{RECORD}{}:person:block", FIRST_PLACE + place);
        change(&record, "gen_random_uuid()")
    });
    vec![
        quoted(person_id),
        text("gen_random_uuid()"),
        bytes("5a", 32),
        quoted(&format!("{DEVICE}:person")),
        text("true"),
        text("now()"),
        format!("ARRAY[{}]", changes.collect::<Vec<_>>().join(", ")),
    ]
}
