//! The service's transactions, as pgbench runs them.

use anyhow::{Context, Result, ensure};

use super::{
    loaded_stack::{LoadedStack, MESSAGE_PREFIX, PERSON_PREFIX, messages},
    measure::statement::{LOGIN, Statement, Trips, limits},
    operation::{Operation, PAGE},
};

/// A transaction of one person. pgbench replaces `:person` and `:message` with numbers.
pub(crate) struct Transaction {
    operation: Operation,
    statement: Statement,
}

impl Transaction {
    /// Returns the transaction of `operation`. Fails if the service no longer has this statement, or if its number of
    /// parameters has changed.
    pub(crate) async fn of(operation: Operation, loaded: &LoadedStack) -> Result<Self> {
        let person_id = format!("{PERSON_PREFIX}:person");
        let quoted = |text: &str| format!("'{text}'");
        let caller = ("caller", quoted(&person_id));
        let text = |text: &str| text.to_owned();
        let (name, arguments) = match operation {
            Operation::Append => {
                let sealed = loaded.sealed();
                let arguments = vec![
                    caller,
                    ("request", text("gen_random_uuid()")),
                    ("payload_macs", format!("ARRAY['\\x{}'::bytea]", "5a".repeat(32))),
                    ("message", text("gen_random_uuid()")),
                    ("sender_type", quoted("user")),
                    ("message_text", quoted(&sealed.token)),
                    ("key_id", quoted(&sealed.key_id)),
                    ("created_at", text("now()")),
                    // No crisis event; a job after 25 messages, with this id and the default priority.
                    ("finding", text("NULL")),
                    ("job", text("gen_random_uuid()")),
                    ("messages_per_job", text("25")),
                    ("job_priority", text("0")),
                    ("limits", limits()),
                ];
                ("AppendMessage", arguments)
            }
            Operation::Get => {
                let message_id = format!("{MESSAGE_PREFIX}:person:message");
                ("GetMessage", vec![caller, ("message", quoted(&message_id))])
            }
            Operation::List => {
                let arguments = vec![
                    caller,
                    ("after", text("0")),
                    ("before", i64::MAX.to_string()),
                    ("newest_first", text("true")),
                    ("most", (PAGE + 1).to_string()),
                ];
                ("ListMessages", arguments)
            }
        };
        let statement = Statement::new(&loaded.stack().database, name, &arguments, person_id).await?;
        Ok(Self { operation, statement })
    }

    /// Returns the ways to run the transaction: first the one of the service.
    pub(crate) fn trips(&self) -> &'static [Trips] {
        self.statement.trips()
    }

    /// Returns the script for pgbench, for a random person.
    pub(crate) fn script(&self, trips: Trips, loaded: &LoadedStack) -> String {
        let (people, messages) = (loaded.others(), messages());
        format!(
            "\\set person random({}, {})\n\\set message random({}, {})\n{}",
            people.start(),
            people.end(),
            messages.start(),
            messages.end(),
            self.statement.script(trips),
        )
    }

    /// Checks that the transaction returns the rows that the service would get. It rolls back.
    pub(crate) async fn check(&self, loaded: &LoadedStack) -> Result<()> {
        let sql = format!("{}; ROLLBACK", self.statement.transaction())
            .replace(":person", &loaded.others().start().to_string())
            .replace(":message", &messages().start().to_string());
        let mut connection = loaded.stack().database.connect(LOGIN).await?;
        let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await;
        let name = self.operation.name();
        let row_count = rows.context(name)?.len() - self.statement.other_rows();
        let expected = match self.operation {
            Operation::Append | Operation::Get => 1,
            Operation::List => PAGE + 1,
        };
        ensure!(
            row_count == expected,
            "{name}: {row_count} rows instead of {expected}"
        );
        Ok(())
    }
}
