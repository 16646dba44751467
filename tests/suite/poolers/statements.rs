//! Every statement of the services fits a pooler in transaction mode, as Postgres logs them.

use std::{collections::BTreeSet, fs};

use haven_testkit::Stack;

use super::{
    POOL_SIZE,
    commands::{as_owner, output, run},
    package,
};
use crate::{
    leaks::{calls::cases, fixture::Fixture},
    raw_call::headers,
    superuser_sql::execute,
};

/// Makes Postgres log each statement of Haven's logins.
const LOG_STATEMENTS: &str = "
    ALTER ROLE identity_app SET log_statement = 'all';
    ALTER ROLE identity_worker SET log_statement = 'all';
    ALTER ROLE identity_owner SET log_statement = 'all';
    ALTER ROLE data_app SET log_statement = 'all';
    ALTER ROLE data_worker SET log_statement = 'all';
    ALTER ROLE data_owner SET log_statement = 'all'";

/// Statements in the log of Postgres.
#[derive(Debug, Default)]
struct Statements {
    /// The number of statements of the extended protocol, which are parsed and executed by several messages.
    extended: usize,
    /// Those that have a name, or that are outside of a transaction.
    unfit: Vec<String>,
}

impl Statements {
    /// Reads lines such as `2026-11-28 21:00:00 UTC [123] data_app@test LOG:  execute <unnamed>: SELECT 1`.
    fn read(log: &str) -> Self {
        let mut statements = Self::default();
        let mut in_transaction = BTreeSet::new();
        for line in log.lines() {
            let Some((prefix, message)) = line.split_once(" LOG:  ") else {
                continue;
            };
            let process = prefix.split(['[', ']']).nth(1).unwrap_or_default();
            if let Some(sql) = message.strip_prefix("statement: ") {
                match sql.split([';', ' ']).next() {
                    Some("BEGIN") => {
                        in_transaction.insert(process);
                    }
                    Some("COMMIT" | "ROLLBACK") => {
                        in_transaction.remove(process);
                    }
                    // One message of the simple protocol is a transaction of its own.
                    _ => {}
                }
            } else if let Some(execution) = message.strip_prefix("execute ") {
                statements.extended += 1;
                if !execution.starts_with("<unnamed>: ") || !in_transaction.contains(process) {
                    statements.unfit.push(line.to_owned());
                }
            }
        }
        statements
    }
}

#[tokio::test]
async fn every_statement_of_every_rpc_and_command_is_unnamed_and_in_a_transaction() {
    let Some(package) = package() else { return };
    let builder = Stack::builder().own_cluster().pooled(package, POOL_SIZE);
    let mut stack = builder.without("identity").without("data").start().await.unwrap();
    let log = stack.cluster().unwrap().log();
    execute(&stack.database, LOG_STATEMENTS).await;
    stack.identity.launch().unwrap();
    stack.data.launch().unwrap();
    stack.identity.ready().await.unwrap();
    stack.data.ready().await.unwrap();
    let maintenance = stack.own_cluster().unwrap().maintenance();
    let fixture = Fixture::of(stack, maintenance).await;
    for case in cases(&fixture) {
        let called = fixture.send(case.server, case.caller, &case.path, headers(&[]), case.body);
        called
            .await
            .unwrap_or_else(|status| panic!("{}: {status:?}", case.path));
    }
    let stack = &fixture.stack;
    let reached = stack.pooler.as_ref().unwrap().database(&stack.database);
    run("data", "keys status", &stack.data.variables).await;
    run("data", "keys rotate", &stack.data.variables).await;
    run("identity", "audit verify", &stack.identity.variables).await;
    run("identity", "reconcile --apply", &stack.identity.variables).await;
    for schema in ["identity", "data"] {
        run(schema, "migrate", &as_owner(&reached, schema)).await;
    }
    for service in [&stack.identity, &stack.data] {
        let audit = output(service.name, "check-database --json", &service.variables).await;
        let findings: serde_json::Value = serde_json::from_slice(&audit.stdout).unwrap();
        assert!(findings.as_array().unwrap().len() > 70, "{findings}");
        assert!(
            !findings.to_string().contains("could not be checked"),
            "{findings:#}"
        );
    }
    let statements = Statements::read(&fs::read_to_string(log).unwrap());
    assert!(statements.extended > 200, "{} statements", statements.extended);
    assert!(statements.unfit.is_empty(), "{:#?}", statements.unfit);
}

#[test]
fn a_named_statement_and_one_outside_of_a_transaction_are_found() {
    let line = |process: u32, message: &str| {
        format!("2026-11-28 21:00:00.123 UTC [{process}] data_app@test LOG:  {message}")
    };
    let log = [
        line(1, "statement: BEGIN; SELECT set_config('a', 'b', true)"),
        line(1, "execute <unnamed>: SELECT 1"),
        line(2, "execute <unnamed>: SELECT 2"),
        line(1, "execute sqlx_s_1: SELECT 3"),
        line(1, "statement: COMMIT"),
        line(1, "statement: SELECT 4"),
        line(1, "execute <unnamed>: SELECT 5"),
    ];
    let statements = Statements::read(&log.join("\n"));
    assert_eq!(statements.extended, 4);
    assert_eq!(statements.unfit, [&*log[2], &log[3], &log[6]]);
}
