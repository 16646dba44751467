//! A database, or a login, whose walls do not hold is refused.

use haven_testkit::Stack;

use crate::superuser_sql::execute;

/// Why `data` does not start with `variables`.
async fn refusal(variables: &[(&str, &str)]) -> String {
    let mut builder = Stack::builder().without("identity");
    for (name, value) in variables {
        builder = builder.variable("data", name, *value);
    }
    match builder.start().await {
        Ok(_) => panic!("it serves"),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test]
async fn a_superuser_is_refused_everywhere() {
    let stack = Stack::builder().without("data").start().await.unwrap();
    let url = stack.database.url("postgres");
    for name in ["DATABASE_URL", "WORKER_DATABASE_URL"] {
        let said = refusal(&[(name, &url)]).await;
        assert!(said.contains("is a superuser or has BYPASSRLS"), "{name}: {said}");
        assert!(!said.contains(&url), "the URL is in the error");
    }
}

#[tokio::test]
async fn the_logins_cannot_be_swapped() {
    let stack = Stack::builder().without("data").start().await.unwrap();
    let said = refusal(&[("DATABASE_URL", &stack.database.url("data_worker"))]).await;
    assert!(
        said.contains("the app login is data_worker; it must be data_app"),
        "{said}"
    );
}

#[tokio::test]
async fn a_schema_of_another_version_and_a_table_without_its_wall_are_refused() {
    let mut stack = Stack::start().await.unwrap();
    for (sql, expected) in [
        (
            "ALTER TABLE data.conversations NO FORCE ROW LEVEL SECURITY",
            "not enabled and forced on data: conversations",
        ),
        (
            "DELETE FROM data._sqlx_migrations WHERE version = (SELECT max(version) FROM data._sqlx_migrations)",
            "run its `migrate`",
        ),
    ] {
        stack.data.kill();
        execute(&stack.database, sql).await;
        let error = stack.data.start().await.expect_err("it serves");
        let said = format!("{error:#}");
        assert!(said.contains(expected), "{said}");
        execute(
            &stack.database,
            "ALTER TABLE data.conversations FORCE ROW LEVEL SECURITY",
        )
        .await;
    }
}
