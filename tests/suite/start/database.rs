//! data does not start with a login that bypasses Row Level Security, or on a database with another schema.

use haven_testkit::Stack;

use crate::superuser_sql::execute;

/// Returns the error with which data fails to start with `variables`.
async fn refusal(variables: &[(&str, &str)]) -> String {
    let mut builder = Stack::builder().without("identity");
    for (name, value) in variables {
        builder = builder.variable("data", name, *value);
    }
    match builder.start().await {
        Ok(_) => panic!("data started"),
        Err(error) => format!("{error:#}"),
    }
}

#[tokio::test]
async fn a_superuser_is_refused_as_either_login() {
    let stack = Stack::shared().await.unwrap();
    let url = stack.database.url("postgres");
    for name in ["DATABASE_URL", "WORKER_DATABASE_URL"] {
        let error = refusal(&[(name, &url)]).await;
        assert!(
            error.contains("is a superuser or has BYPASSRLS"),
            "{name}: {error}"
        );
        assert!(!error.contains(&url), "the URL is in the error");
    }
}

#[tokio::test]
async fn the_worker_login_is_refused_as_the_app_login() {
    let stack = Stack::shared().await.unwrap();
    let error = refusal(&[("DATABASE_URL", &stack.database.url("data_worker"))]).await;
    assert!(
        error.contains("the app login is data_worker; it must be data_app"),
        "{error}"
    );
}

#[tokio::test]
async fn a_table_without_row_security_and_an_older_schema_are_refused() {
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
        let error = stack.data.start().await.expect_err("data started");
        let error = format!("{error:#}");
        assert!(error.contains(expected), "{error}");
        execute(
            &stack.database,
            "ALTER TABLE data.conversations FORCE ROW LEVEL SECURITY",
        )
        .await;
    }
}
