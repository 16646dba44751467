//! `queries.sql`: names, counts and sequential scans, without private values.

use std::process::Command;

use haven_testkit::{
    database::Database,
    installation::Installation,
    queries::{self, Queries},
    secrets::SUPERUSER,
    workspace,
};

use super::{CALLS, calls, start};
use crate::{
    eventually::eventually,
    leaks::canary::{Flock, Haystack},
    superuser_sql::execute,
};

/// Stores 3,000 messages of a person, as the owner of all rows.
const MANY_MESSAGES: &str = "
    WITH person AS (
        INSERT INTO data.users (id, created_at) VALUES (gen_random_uuid(), now()) RETURNING id
    )
    INSERT INTO data.conversations (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
    SELECT person.id, gen_random_uuid(), number, 'user', 'gAAAA', 'test-1', now(), now()
      FROM person, generate_series(1, 3000) AS number";

/// Looks a person up that does not exist, without an index.
const SEQUENTIAL: &str = "
    SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
    SELECT count(*) FROM data.conversations WHERE user_id = gen_random_uuid()";

#[tokio::test]
async fn statements_are_counted_by_the_name_of_their_rpc_and_sequential_scans_are_shown() {
    let stack = start().await;
    let flock = Flock::default();
    calls(&stack, &flock).await;
    let read = read(&stack.database).await;
    for (name, count) in CALLS {
        assert_eq!(count_of(&read, name), count, "{name} in {read:#?}");
    }
    let share: f64 = read
        .statements
        .iter()
        .map(|statement| statement.share_percent)
        .sum();
    assert!((90.0..110.0).contains(&share), "{share}");
    let get = read
        .statements
        .iter()
        .find(|statement| statement.statement == "GetMessage")
        .unwrap();
    assert_eq!((get.role.as_str(), get.rows_per_call), ("data_user", 1.0));
    assert!(get.blocks_per_call >= 1.0 && get.mean_ms > 0.0, "{get:?}");
    assert_eq!(get.whole_tables, "", "an index serves it");

    let text = serde_json::to_string(&read).unwrap() + &psql(&stack.database);
    assert!(
        text.contains("AppendMessage,"),
        "psql prints the same names: {text}"
    );
    let haystack = Haystack::new(text);
    for canary in flock.all() {
        assert_eq!(canary.found(&haystack), None, "{}", canary.what);
    }

    execute(&stack.database, MANY_MESSAGES).await;
    execute(&stack.database, SEQUENTIAL).await;
    let mut report = Queries::default();
    eventually("the sequential scan is shown", async || {
        report = self::read(&stack.database).await;
        report.tables.first().is_some_and(|table| {
            table.table_name == "data.conversations"
                && table.sequential_scans > 0
                && table.rows_per_sequential_scan >= 1000
        })
    })
    .await;
    let get = report
        .statements
        .iter()
        .find(|statement| statement.statement == "GetMessage")
        .unwrap();
    assert!(get.whole_tables.starts_with("data.conversations ("), "{get:?}");
    let sign_up = report
        .statements
        .iter()
        .find(|statement| statement.statement == "SignUp")
        .unwrap();
    assert_eq!(sign_up.whole_tables, "", "its tables were not read whole");
}

/// Reads the statistics as the login of monitoring.
async fn read(database: &Database) -> Queries {
    let mut connection = database.connect(queries::LOGIN).await.unwrap();
    Queries::read(&mut connection).await.unwrap()
}

/// Returns the executions of the statements with a name.
fn count_of(queries: &Queries, name: &str) -> i64 {
    let named = queries
        .statements
        .iter()
        .filter(|statement| statement.statement == name);
    named.map(|statement| statement.calls).sum()
}

/// Runs the file with psql, as `deploy/README.md` says.
fn psql(database: &Database) -> String {
    let output = Command::new(Installation::require(|_| ()).unwrap().bin.join("psql"))
        .args(["--csv", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(workspace::root().join("deploy/postgres/queries.sql"))
        .envs(database.libpq(queries::LOGIN))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn a_name_is_shown_only_where_it_can_hold_no_value() {
    let stack = start().await;
    let comments =
        "/* Ada 42 */ SELECT 1 AS a; /* ada@example.org */ SELECT 2 AS b, 3; SELECT 'ada' AS c, 4, 5";
    stack.database.run(SUPERUSER, comments).await.unwrap();
    let shown = serde_json::to_string(&read(&stack.database).await)
        .unwrap()
        .to_lowercase();
    assert!(shown.contains("(no name)") && !shown.contains("ada"), "{shown}");
}
