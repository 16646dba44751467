//! Upgrades: an old program restarts on a schema that a newer program has migrated.

use std::process::{Command, Output};

use haven_proto::{data::v1::ListMessagesRequest, identity::v1::GetAccountRequest};
use haven_testkit::{Person, Stack, binaries::Binaries, service::Service};

use sqlx::AssertSqlSafe;

use crate::{
    eventually::eventually,
    newer_program::{ADDED, NewerProgram, RENAMED, newest},
};

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

/// A history without its last migration, as `migrate` leaves it between two.
#[tokio::test]
async fn a_program_waits_while_the_schema_is_migrated_to_its_version() {
    let mut stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    for name in ["identity", "data"] {
        let mut migration = stack.database.connect(&format!("{name}_owner")).await.unwrap();
        let mut run = async |sql: String| {
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut migration)
                .await
                .unwrap();
        };
        let newest = newest(name);
        run(format!(
            "UPDATE {name}._sqlx_migrations SET success = false WHERE version = {newest}"
        ))
        .await;
        run(format!(
            "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('{name}._sqlx_migrations', 0));
             UPDATE {name}._sqlx_migrations SET success = true WHERE version = {newest}"
        ))
        .await;
        let service = service(&mut stack, name);
        service.kill();
        service.launch().unwrap();
        eventually("it waits for the migration", async || {
            let log = service.output().unwrap();
            log.contains("the schema is being migrated")
        })
        .await;
        assert!(service.runs());
        run("COMMIT".to_owned()).await;
        service.ready().await.unwrap();
        both_answer(&stack, &person).await;
    }
}

#[tokio::test]
async fn an_old_program_restarts_on_a_newer_schema_that_allows_it_and_refuses_one_that_does_not() {
    let mut stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    for name in ["identity", "data"] {
        let newer = NewerProgram::new(name);
        let program = newest(name);

        newer.migrate(&stack.database, ADDED).await;
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

        newer.migrate(&stack.database, RENAMED).await;
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
        newer.undo(&stack.database, program.parse().unwrap()).await;
        service(&mut stack, name).start().await.unwrap();
        both_answer(&stack, &person).await;
    }
}
