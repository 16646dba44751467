//! A run that is killed half way is completed by the next one.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

use haven_testkit::Stack;

use super::{command, reconciled};
use crate::superuser_sql::{execute, scalar};

/// The number of accounts that data does not know.
const PEOPLE: u64 = 1000;

#[tokio::test]
async fn a_killed_run_is_completed_by_the_next() {
    let stack = Stack::start().await.unwrap();
    let sql = format!(
        "INSERT INTO identity.users (id, email, email_canonical, password_hash, goals, created_at, updated_at)
         SELECT gen_random_uuid(), n || '@example.org', n || '@example.org', '$argon2id$not-a-hash', '{{make_friends}}',
             now(), now()
         FROM generate_series(1, {PEOPLE}) AS n"
    );
    execute(&stack.database, &sql).await;
    let known = "SELECT count(*) FROM data.users";
    for killed_after in [1, 250] {
        let mut running = command(&stack, &["--apply"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(running.stdout.take().unwrap()).lines();
        let provisioned = lines
            .map_while(Result::ok)
            .filter(|line| line.starts_with("provision") && line.contains("has an account"));
        assert_eq!(provisioned.take(killed_after).count(), killed_after);
        running.kill().unwrap();
        running.wait().unwrap();
        let known: i64 = scalar(&stack.database, known).await;
        assert!(known < PEOPLE as i64, "the run was not interrupted");
    }
    let mended = reconciled(&stack, &["--apply"]).await;
    assert_eq!(mended.count("agree"), PEOPLE);
    assert_eq!(scalar::<i64>(&stack.database, known).await, PEOPLE as i64);
    let waiting: i64 = scalar(&stack.database, "SELECT count(*) FROM identity.outbox").await;
    assert_eq!(waiting, 0);
    let again = reconciled(&stack, &["--apply"]).await;
    assert_eq!(
        (again.people("provision").len(), again.count("agree")),
        (0, PEOPLE)
    );
}
