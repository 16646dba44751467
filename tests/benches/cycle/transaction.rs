//! The service's transactions, as pgbench runs them.
//!
//! Each connection of pgbench has its own people. It goes from one person to the next, and then from one record, or
//! block of records, to the next. So it knows the version of each record without a query.

use std::ops::Range;

use anyhow::{Context, Result, ensure};
use haven_testkit::secrets::SUPERUSER;
use sqlx::AssertSqlSafe;

use super::{
    loaded_stack::{
        BLOCK, DEVICE_PREFIX, FIRST_INDEX, FIRST_NUMBER, LoadedStack, PAYLOAD_BYTES, PERSON_PREFIX,
        RECORD_PREFIX, RECORDS,
    },
    measure::{
        CONNECTIONS,
        statement::{LOGIN, Statement, Trips, limits},
    },
    operation::Operation,
};

/// An SQL expression for a new nonce.
const NONCE: &str = "substr(sha256(uuid_send(gen_random_uuid())), 1, 24)";

/// A transaction of one person. pgbench replaces `:person`, `:index`, `:block` and `:version` with numbers.
pub(crate) struct Transaction {
    operation: Operation,
    people: Range<u32>,
    statement: Statement,
}

impl Transaction {
    /// Returns the transaction of `operation`. Fails if the service no longer has this statement, or if its number of
    /// parameters has changed.
    pub(crate) async fn of(operation: Operation, loaded: &LoadedStack) -> Result<Self> {
        let person_id = format!("{PERSON_PREFIX}:person");
        let (name, arguments, people) = match operation {
            Operation::Update => (
                "UpdateRecord, and CreateRecord and DeleteRecord",
                update(&person_id),
                loaded.updated(),
            ),
            Operation::Push => ("PushChanges", push(&person_id), loaded.pushed()),
        };
        let statement = Statement::new(&loaded.stack().database, name, &arguments, person_id).await?;
        Ok(Self {
            operation,
            people,
            statement,
        })
    }

    /// Returns the ways to run the transaction: first the one of the service.
    pub(crate) fn trips(&self) -> &'static [Trips] {
        self.statement.trips()
    }

    /// Returns the script for pgbench. `:turn` counts the transactions of the connection, in this run and in earlier ones.
    pub(crate) fn script(&self, trips: Trips) -> String {
        let (first, each) = (self.people.start, self.people_per_connection());
        let before: String = (0..CONNECTIONS)
            .map(|client| format!(" when :client_id = {client} then :turn{client}"))
            .collect();
        let round = match self.operation {
            Operation::Update => RECORDS,
            Operation::Push => RECORDS / BLOCK,
        };
        let (index, block) = match self.operation {
            Operation::Update => (
                format!("{FIRST_INDEX} + (:turn / {each}) % {BLOCK}"),
                format!("{FIRST_NUMBER} + (:turn / {each}) % {round} / {BLOCK}"),
            ),
            Operation::Push => (
                FIRST_INDEX.to_string(),
                format!("{FIRST_NUMBER} + (:turn / {each}) % {round}"),
            ),
        };
        format!(
            "\\if :prepared = 0\n\\set turn case{before} else 0 end\n\\endif\n\
             \\set person {first} + :client_id + {CONNECTIONS} * (:turn % {each})\n\
             \\set index {index}\n\\set block {block}\n\
             \\set version 1 + :turn / ({each} * {round})\n\
             {}\\set turn :turn + 1\n",
            self.statement.script(trips)
        )
    }

    /// Returns the number of people of each connection.
    fn people_per_connection(&self) -> u32 {
        (self.people.end - self.people.start) / CONNECTIONS
    }

    /// Returns the number of transactions that each connection has done, as variables of the script. It is computed
    /// from the versions of the records.
    pub(crate) async fn turns(&self, loaded: &LoadedStack) -> Result<Vec<String>> {
        let done = self.done(loaded).await?.into_iter();
        Ok(done
            .map(|(client, turn)| format!("turn{client}={turn}"))
            .collect())
    }

    /// Checks that the connections of pgbench have applied `transactions` transactions in total. Otherwise their
    /// assumption about the versions is wrong.
    pub(crate) async fn check_done(&self, loaded: &LoadedStack, transactions: u64) -> Result<()> {
        let done: i64 = self.done(loaded).await?.into_iter().map(|(_, turn)| turn).sum();
        ensure!(
            u64::try_from(done)? == transactions,
            "{}: {done} of pgbench's {transactions} transactions were applied",
            self.operation.name()
        );
        Ok(())
    }

    /// Returns the number of transactions that each connection has done.
    async fn done(&self, loaded: &LoadedStack) -> Result<Vec<(i32, i64)>> {
        let Range { start, end } = self.people;
        let sql = format!(
            "SELECT (number - {start}) % {CONNECTIONS}, (sum(version - 1) / {})::bigint
             FROM (SELECT right(user_id::text, 4)::integer AS number, version FROM data.encrypted_cycle_data) AS records
             WHERE number >= {start} AND number < {end}
             GROUP BY 1",
            self.operation.changes()
        );
        let mut superuser = loaded.stack().database.connect(SUPERUSER).await?;
        let done = sqlx::query_as(AssertSqlSafe(sql))
            .fetch_all(&mut superuser)
            .await?;
        ensure!(done.len() == CONNECTIONS as usize, "{done:?}");
        Ok(done)
    }

    /// Checks that the transaction makes the changes that the service would make. It rolls back.
    pub(crate) async fn check(&self, loaded: &LoadedStack) -> Result<()> {
        let count = "SELECT sum(version) FROM data.encrypted_cycle_data WHERE user_id = auth.uid()";
        let assert_sum = |expected: u32| format!("DO $$ BEGIN ASSERT ({count}) = {expected}; END $$");
        let sql = format!(
            "{}; {}; {}; ROLLBACK",
            self.statement.transaction(),
            self.statement.as_caller(),
            assert_sum(RECORDS + self.operation.changes())
        )
        .replace(":person", &self.people.start.to_string())
        .replace(":index", &FIRST_INDEX.to_string())
        .replace(":block", &FIRST_NUMBER.to_string())
        .replace(":version", "1");
        let mut connection = loaded.stack().database.connect(LOGIN).await?;
        let result = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
        result.with_context(|| self.operation.name())?;
        Ok(())
    }
}

fn quoted(text: &str) -> String {
    format!("'{text}'")
}

fn bytes(byte: &str, count: usize) -> String {
    format!("'\\x{}'", byte.repeat(count))
}

/// Returns a value of `data.cycle_change` that puts new content into `record`; a conflict would get the id `conflict`.
fn change(record: &str, conflict: &str) -> String {
    format!(
        "ROW('{record}', :version, false, {}, 1, 'xchacha20_poly1305', 1, {NONCE}, {}, 19456, 2, 1, 1, now(), {conflict})\
         ::data.cycle_change",
        bytes("a5", PAYLOAD_BYTES),
        bytes("5a", 16),
    )
}

/// Returns the arguments of the statement of UpdateRecord.
fn update(person_id: &str) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    vec![
        ("caller", quoted(person_id)),
        ("request_id", text("gen_random_uuid()")),
        ("method", text("'UpdateRecord'")),
        ("payload_macs", payload_macs()),
        ("device", quoted(&format!("{DEVICE_PREFIX}:person"))),
        (
            "change",
            change(&format!("{RECORD_PREFIX}:index:person:block"), "NULL"),
        ),
        ("at", text("now()")),
        ("limits", limits()),
        ("again", text("false")),
    ]
}

/// Returns the arguments of the statement of PushChanges.
fn push(person_id: &str) -> Vec<(&'static str, String)> {
    let text = |text: &str| text.to_owned();
    let changes = (0..BLOCK).map(|index| {
        let record = format!("{RECORD_PREFIX}{}:person:block", FIRST_INDEX + index);
        change(&record, "gen_random_uuid()")
    });
    vec![
        ("caller", quoted(person_id)),
        ("request_id", text("gen_random_uuid()")),
        ("payload_macs", payload_macs()),
        ("device", quoted(&format!("{DEVICE_PREFIX}:person"))),
        ("keep", text("true")),
        ("at", text("now()")),
        (
            "changes",
            format!("ARRAY[{}]", changes.collect::<Vec<_>>().join(", ")),
        ),
        ("limits", limits()),
    ]
}

/// Returns the MACs of a payload, of which there is one for each key.
fn payload_macs() -> String {
    format!("ARRAY[{}::bytea]", bytes("5a", 32))
}
