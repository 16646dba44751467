//! The audit log. Which calls of the services it records is tested with the canaries, in `leaks/production.rs`.

use haven_testkit::random;

use super::{
    log::{Log, canary},
    refusal, shared,
};

#[tokio::test]
async fn changes_of_roles_are_recorded_without_passwords() {
    let Some(stack) = shared().await else { return };
    let log = Log::of(stack);
    let (role, canary) = (format!("r{}", random::uuid().simple()), canary());
    let statements = [
        format!("CREATE ROLE {role} LOGIN PASSWORD '{canary}'"),
        format!("ALTER ROLE {role} PASSWORD '{canary}'"),
        format!("ALTER ROLE {role} SUPERUSER"),
        format!("GRANT identity_user TO {role}"),
        // Also inside of another statement.
        format!("DO $$ BEGIN EXECUTE 'ALTER ROLE {role} CONNECTION LIMIT 7 PASSWORD ''{canary}'''; END $$"),
        format!("DROP ROLE {role}"),
    ];
    for statement in &statements {
        stack.database.run("postgres", statement).await.unwrap();
    }
    let create = log.line(&["AUDIT: SESSION", "ROLE,CREATE ROLE", &role]).await;
    assert!(create.contains("PASSWORD <REDACTED>"), "{create}");
    log.line(&[
        "ROLE,ALTER ROLE",
        &format!("ALTER ROLE {role} PASSWORD <REDACTED>"),
    ])
    .await;
    log.line(&["ROLE,ALTER ROLE", &format!("ALTER ROLE {role} SUPERUSER")])
        .await;
    log.line(&["ROLE,GRANT ROLE", &format!("GRANT identity_user TO {role}")])
        .await;
    log.line(&[
        "ROLE,ALTER ROLE",
        &format!("{role} CONNECTION LIMIT 7 PASSWORD <REDACTED>"),
    ])
    .await;
    log.line(&["ROLE,DROP ROLE", &role]).await;
    assert!(!log.text().contains(&canary), "{}", log.text());
}

#[tokio::test]
async fn changes_of_objects_and_settings_are_recorded() {
    let Some(stack) = shared().await else { return };
    let log = Log::of(stack);
    let table = format!("t{}", random::uuid().simple());
    let statements = [
        format!("CREATE TABLE public.{table} ()"),
        format!("ALTER TABLE public.{table} ENABLE ROW LEVEL SECURITY"),
        format!("GRANT SELECT ON public.{table} TO data_user"),
        format!("DROP TABLE public.{table}"),
        format!("COMMENT ON DATABASE haven IS '{table}'"),
        format!("ALTER ROLE haven_monitor IN DATABASE haven SET application_name = '{table}'"),
        "ALTER ROLE haven_monitor IN DATABASE haven RESET application_name".to_owned(),
    ];
    for statement in &statements {
        stack.database.run("postgres", statement).await.unwrap();
        log.line(&["postgres@haven", "AUDIT: SESSION", statement]).await;
    }
}

#[tokio::test]
async fn all_that_an_owner_and_a_reader_do_is_recorded_without_values() {
    let Some(stack) = shared().await else { return };
    let log = Log::of(stack);
    let canary = canary();
    let run = async |login: &str, statement: String| stack.database.run(login, &statement).await.unwrap();
    let update = format!("UPDATE identity.users SET goals = goals WHERE email = '{canary}'");
    run("identity_owner", update).await;
    log.line(&[
        "identity_owner@haven",
        "AUDIT: SESSION",
        "WRITE,UPDATE,TABLE,identity.users,<not logged>",
    ])
    .await;
    let read = format!("SELECT FROM data.conversations WHERE message_text = '{canary}'");
    run("data_owner", read).await;
    log.line(&[
        "data_owner@haven",
        "READ,SELECT,TABLE,data.conversations,<not logged>",
    ])
    .await;
    let table = format!("t{}", random::uuid().simple());
    run(
        "data_owner",
        format!("CREATE TABLE data.{table} (a text DEFAULT '{canary}'); DROP TABLE data.{table}"),
    )
    .await;
    log.line(&[
        "data_owner@haven",
        "DDL,CREATE TABLE,TABLE",
        &table,
        "<not logged>",
    ])
    .await;
    let read = format!("SELECT FROM data.share_metadata WHERE id::text = '{canary}'");
    run("haven_readonly", read).await;
    log.line(&[
        "haven_readonly@haven",
        "READ,SELECT,VIEW,data.share_metadata,<not logged>",
    ])
    .await;
    // The session that reads statistics, every few seconds, is not recorded.
    run(
        "haven_monitor",
        "SELECT count(*) FROM public.pg_stat_statements".to_owned(),
    )
    .await;
    let text = log.text();
    assert!(!text.contains(&canary), "{text}");
    let monitored = text
        .lines()
        .filter(|line| line.contains("haven_monitor@") && line.contains("AUDIT"));
    assert_eq!(monitored.count(), 0, "{text}");
}

#[tokio::test]
async fn a_login_cannot_turn_its_audit_off() {
    let Some(stack) = shared().await else { return };
    for login in ["data_owner", "data_app", "haven_readonly", "haven_admin"] {
        for statement in [
            "SET pgaudit.log = 'none'",
            "SET pgaudit.role = ''",
            "SET log_min_messages = 'panic'",
            "SET log_parameter_max_length = -1",
            "SET log_statement = 'all'",
            "ALTER ROLE CURRENT_USER SET pgaudit.log = 'none'",
            "SET ROLE haven_audit",
        ] {
            let (code, message) = refusal(&stack.database, login, statement).await;
            // haven_readonly's transactions are read-only (25006).
            assert!(
                code == "42501" || code == "25006",
                "{login}: {statement}: {message}"
            );
        }
    }
}
