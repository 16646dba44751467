//! The service's transactions, as pgbench runs them.

use anyhow::{Context, Result, ensure};

use super::{
    loaded_stack::{LoadedStack, MESSAGE_PREFIX, PERSON_PREFIX, messages},
    measure::{BEGIN, CONTEXT, LOGIN, statement},
    operation::{Operation, PAGE},
};

/// A transaction of one person. pgbench replaces `:person` and `:message` with numbers.
pub(crate) struct Transaction {
    /// The operation that the transaction belongs to.
    pub(crate) operation: Operation,
    prepare: String,
    execute: String,
}

impl Transaction {
    /// Returns the transaction of `operation`. Fails if the service no longer has this statement, or if its number of
    /// parameters has changed.
    pub(crate) fn of(operation: Operation, loaded: &LoadedStack) -> Result<Self> {
        let person_id = format!("{PERSON_PREFIX}:person");
        let quoted = |text: &str| format!("'{text}'");
        let (name, arguments) = match operation {
            Operation::Append => {
                let sealed = loaded.sealed();
                let payload_mac = format!("\\x{}", "5a".repeat(32));
                let id = || "gen_random_uuid()".to_owned();
                let arguments = vec![
                    quoted(&person_id),
                    id(),
                    quoted(&payload_mac),
                    id(),
                    quoted("user"),
                    quoted(&sealed.token),
                    quoted(&sealed.key_id),
                    "now()".to_owned(),
                    // No crisis event; a job after 25 messages, with this id and the default priority.
                    "NULL".to_owned(),
                    id(),
                    "25".to_owned(),
                    "0".to_owned(),
                ];
                ("AppendMessage", arguments)
            }
            Operation::Get => {
                let message_id = format!("{MESSAGE_PREFIX}:person:message");
                ("GetMessage", vec![quoted(&person_id), quoted(&message_id)])
            }
            Operation::List => {
                let (after, before, limit) = (0.to_string(), i64::MAX.to_string(), (PAGE + 1).to_string());
                let arguments = vec![quoted(&person_id), after, before, limit];
                ("ListMessages, newest first", arguments)
            }
        };
        let statement = statement(name, arguments.len())?;
        Ok(Self {
            operation,
            prepare: format!("{};\nPREPARE call AS {statement}", CONTEXT[0]),
            execute: format!(
                "{};\nEXECUTE call({})",
                CONTEXT[1].replace(":person_id", &person_id),
                arguments.join(", ")
            ),
        })
    }

    /// Returns the script for pgbench, for a random person. Each connection prepares the statement once, and
    /// `:prepared` stores that it did.
    pub(crate) fn script(&self, loaded: &LoadedStack) -> String {
        let Self { prepare, execute, .. } = self;
        let begin = BEGIN.join(" \\; ");
        let (people, messages) = (loaded.others(), messages());
        format!(
            "\\set person random({}, {})\n\\set message random({}, {})\n\
             {begin};\n\\if :prepared = 0\n{prepare};\n\\set prepared 1\n\\endif\n{execute};\nCOMMIT;\n",
            people.start(),
            people.end(),
            messages.start(),
            messages.end(),
        )
    }

    /// Checks that the transaction returns the rows that the service would get. It rolls back.
    pub(crate) async fn check(&self, loaded: &LoadedStack) -> Result<()> {
        let Self { prepare, execute, .. } = self;
        let begin = BEGIN.join("; ");
        let sql = format!("{begin}; {prepare}; {execute}; ROLLBACK")
            .replace(":person", &loaded.others().start().to_string())
            .replace(":message", &messages().start().to_string());
        let mut connection = loaded.stack.database.connect(LOGIN).await?;
        let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await;
        // The count excludes the rows of `set_config`.
        let row_count = rows.with_context(|| self.operation.to_string())?.len() - 2;
        let expected = match self.operation {
            Operation::Append | Operation::Get => 1,
            Operation::List => PAGE + 1,
        };
        ensure!(
            row_count == expected,
            "{}: {row_count} rows instead of {expected}",
            self.operation
        );
        Ok(())
    }
}
