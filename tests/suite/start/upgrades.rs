//! Upgrades: an old program restarts on a schema that a newer program has migrated.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use haven_proto::{data::v1::ListMessagesRequest, identity::v1::GetAccountRequest};
use haven_testkit::{Person, Stack, binaries::Binaries, service::Service, workspace};
use sqlx::migrate::Migrator;
use tempfile::TempDir;

/// A migration of the newer program that the old one can work with, and one that it cannot.
const ADDED: i64 = 99_990_101_000_100;
const RENAMED: i64 = 99_990_101_000_200;

/// The schema of a service with the migrations of a newer program.
struct NewerProgram {
    schema: &'static str,
    migrations: TempDir,
}

impl NewerProgram {
    /// Creates its migrations: those of this checkout, and two more.
    fn new(schema: &'static str) -> Self {
        let migrations = tempfile::tempdir().unwrap();
        for file in workspace::files(&workspace::migrations().join(schema)).unwrap() {
            fs::copy(&file, migrations.path().join(file.file_name().unwrap())).unwrap();
        }
        let oldest = |version: &str| {
            format!(
                "CREATE OR REPLACE FUNCTION {schema}.oldest_binary() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
                     SET search_path = '' RETURN {version};"
            )
        };
        let newest = newest(&workspace::migrations().join(schema));
        let program = Self { schema, migrations };
        program.write(
            ADDED,
            &format!("ALTER TABLE {schema}.users ADD COLUMN mood text;"),
            &format!("ALTER TABLE {schema}.users DROP COLUMN mood;"),
        );
        program.write(
            RENAMED,
            &format!(
                "ALTER TABLE {schema}.users RENAME COLUMN created_at TO began_at; {}",
                oldest(&RENAMED.to_string())
            ),
            &format!(
                "ALTER TABLE {schema}.users RENAME COLUMN began_at TO created_at; {}",
                oldest(&newest)
            ),
        );
        program
    }

    fn write(&self, version: i64, up: &str, down: &str) {
        for (direction, sql) in [("up", up), ("down", down)] {
            let file = self
                .migrations
                .path()
                .join(format!("{version}_test.{direction}.sql"));
            let sql = format!("SET LOCAL row_security = off; {sql} SET LOCAL row_security = on;");
            fs::write(file, sql).unwrap();
        }
    }

    async fn migrator(&self) -> Migrator {
        let mut migrator = Migrator::new(self.migrations.path()).await.unwrap();
        migrator.dangerous_set_table_name(format!("{}._sqlx_migrations", self.schema));
        migrator
    }

    async fn migrate(&self, stack: &Stack, version: i64) {
        let owner = format!("{}_owner", self.schema);
        let mut owner = stack.database.connect(&owner).await.unwrap();
        self.migrator().await.run_to(version, &mut owner).await.unwrap();
    }

    async fn undo(&self, stack: &Stack, version: i64) {
        let owner = format!("{}_owner", self.schema);
        let mut owner = stack.database.connect(&owner).await.unwrap();
        self.migrator().await.undo(&mut owner, version).await.unwrap();
    }
}

/// Returns the version of the newest migration in `directory`.
fn newest(directory: &Path) -> String {
    let files = workspace::files(directory).unwrap();
    let names = files.iter().filter_map(|file| file.file_name()?.to_str());
    let newest = names.max().unwrap();
    newest.split('_').next().unwrap().to_owned()
}

/// Runs `migrate` of the old program.
fn migrate(stack: &Stack, service: &'static str, arguments: &[&str]) -> Output {
    let mut command = Command::new(Binaries::build().unwrap().of(service));
    command.arg("migrate").args(arguments).env_clear();
    let url = stack.database.url(&format!("{service}_owner"));
    command.env("MIGRATION_DATABASE_URL", url);
    command.output().unwrap()
}

fn service<'a>(stack: &'a mut Stack, name: &str) -> &'a mut Service {
    match name {
        "identity" => &mut stack.identity,
        _ => &mut stack.data,
    }
}

async fn both_answer(stack: &Stack, person: &Person) {
    let client = stack.user(person).unwrap();
    let account = GetAccountRequest::default();
    client.account().get_account(account).await.unwrap();
    let list = ListMessagesRequest::default();
    client.conversation().list_messages(list).await.unwrap();
}

#[tokio::test]
async fn an_old_program_restarts_on_a_newer_schema_that_allows_it_and_refuses_one_that_does_not() {
    let mut stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    for name in ["identity", "data"] {
        let newer = NewerProgram::new(name);
        let program = newest(&workspace::migrations().join(name));

        newer.migrate(&stack, ADDED).await;
        both_answer(&stack, &person).await;
        service(&mut stack, name).kill();
        service(&mut stack, name).start().await.unwrap();
        both_answer(&stack, &person).await;
        let log = service(&mut stack, name).output().unwrap();
        assert!(log.contains("the schema is newer than this program"), "{name}");
        let output = migrate(&stack, name, &[]);
        let (said, error) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert!(output.status.success(), "{error}");
        let expected = format!(
            "schema {name} is at version {ADDED}, which is newer than this program's {program} and allows it"
        );
        assert!(said.contains(&expected), "{said}");

        newer.migrate(&stack, RENAMED).await;
        let expected = format!(
            "schema {name} has version {RENAMED}, which allows programs for {RENAMED} or newer, and this program is for \
             {program}"
        );
        service(&mut stack, name).kill();
        let refusal = service(&mut stack, name).start().await.expect_err("it started");
        let refusal = format!("{refusal:#}");
        assert!(refusal.contains(&expected), "{refusal}");
        assert!(
            refusal.contains(&format!("`migrate --undo-to {program}`")),
            "{refusal}"
        );
        assert_eq!(
            service(&mut stack, name).ended().and_then(|status| status.code()),
            Some(1)
        );
        let output = migrate(&stack, name, &[]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&expected), "{error}");
        let output = migrate(&stack, name, &["--undo-to", &program]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.contains("revert the newer ones with the program that has them"),
            "{error}"
        );

        // The newer program reverts what the old one refuses.
        newer.undo(&stack, program.parse().unwrap()).await;
        service(&mut stack, name).start().await.unwrap();
        both_answer(&stack, &person).await;
    }
}
