//! Dump of one schema, which is restored later in place of the schema.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use haven_testkit::{Stack, installation::Installation, secrets::SUPERUSER};

/// A complete dump of a service's schema.
pub(super) struct SchemaDump {
    schema: &'static str,
    sql: Vec<u8>,
}

impl SchemaDump {
    /// Dumps the schema, as the superuser, for whom Row Level Security hides no row.
    pub(super) fn take(stack: &Stack, schema: &'static str) -> Self {
        let output = program(stack, "pg_dump")
            .args(["--schema", schema])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self {
            schema,
            sql: output.stdout,
        }
    }

    /// Drops the schema, and restores it as it was. Its service must be stopped.
    pub(super) fn restore(&self, stack: &Stack) {
        let mut psql = program(stack, "psql")
            .args([
                "--no-psqlrc",
                "--quiet",
                "--single-transaction",
                "-v",
                "ON_ERROR_STOP=1",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = psql.stdin.take().unwrap();
        writeln!(
            input,
            "SET client_min_messages = warning; DROP SCHEMA {} CASCADE;",
            self.schema
        )
        .unwrap();
        input.write_all(&self.sql).unwrap();
        drop(input);
        let output = psql.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Returns a program of Postgres that connects to the stack's database.
fn program(stack: &Stack, name: &str) -> Command {
    let installation = Installation::require(|_| ()).unwrap();
    let mut command = Command::new(installation.bin.join(name));
    command.envs(stack.database.libpq(SUPERUSER));
    command
}
