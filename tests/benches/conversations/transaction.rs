//! The service's transactions, as pgbench runs them.

use anyhow::{Context, Result, ensure};

use super::{
    measure::{BEGIN, LOGIN, statement},
    operation::{Operation, PAGE},
    world::{MESSAGE, PERSON, World, messages},
};

/// A transaction of one person. Where `:person` and `:message` stand, pgbench puts numbers.
pub(crate) struct Transaction {
    pub(crate) operation: Operation,
    begin: Vec<String>,
    prepare: String,
    execute: String,
}

impl Transaction {
    /// The one that serves `operation` in `world`. Fails when the service has no such statement any more, or one that
    /// takes something else.
    pub(crate) fn of(operation: Operation, world: &World) -> Result<Self> {
        let person_id = format!("{PERSON}:person");
        let quoted = |text: &str| format!("'{text}'");
        let (name, arguments) = match operation {
            Operation::Append => {
                let sealed = world.sealed();
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
                    // Nothing is found in it; a job after 25 messages, under this id and of the usual priority.
                    "NULL".to_owned(),
                    id(),
                    "25".to_owned(),
                    "0".to_owned(),
                ];
                ("AppendMessage", arguments)
            }
            Operation::Get => {
                let message_id = format!("{MESSAGE}:person:message");
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
            begin: BEGIN.map(|part| part.replace(":person_id", &person_id)).to_vec(),
            prepare: format!("PREPARE call AS {statement}"),
            execute: format!("EXECUTE call({})", arguments.join(", ")),
        })
    }

    /// As pgbench reads it, for any one of the others. Each connection prepares once, and `:prepared` tells it whether it
    /// did.
    pub(crate) fn script(&self, world: &World) -> String {
        let Self { prepare, execute, .. } = self;
        let begin = self.begin.join(" \\; ");
        let (people, messages) = (world.others(), messages());
        format!(
            "\\set person random({}, {})\n\\set message random({}, {})\n\
             {begin};\n\\if :prepared = 0\n{prepare};\n\\set prepared 1\n\\endif\n{execute};\nCOMMIT;\n",
            people.start(),
            people.end(),
            messages.start(),
            messages.end(),
        )
    }

    /// Fails unless the transaction finds in `world` what the service would find; and leaves nothing behind.
    pub(crate) async fn check(&self, world: &World) -> Result<()> {
        let Self { prepare, execute, .. } = self;
        let begin = self.begin.join("; ");
        let sql = format!("{begin}; {prepare}; {execute}; ROLLBACK")
            .replace(":person", &world.others().start().to_string())
            .replace(":message", &messages().start().to_string());
        let mut connection = world.stack.database.connect(LOGIN).await?;
        let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .fetch_all(&mut connection)
            .await;
        // One of them is that of the settings.
        let found = rows.with_context(|| self.operation.to_string())?.len() - 1;
        let expected = match self.operation {
            Operation::Append | Operation::Get => 1,
            Operation::List => PAGE + 1,
        };
        ensure!(
            found == expected,
            "{}: {found} rows instead of {expected}",
            self.operation
        );
        Ok(())
    }
}
