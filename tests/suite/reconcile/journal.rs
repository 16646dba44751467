//! The journal of erasures: it has each completed erasure, and an erasure waits while it cannot be written.

use std::fs;

use haven_proto::identity::v1::DeletionState;
use haven_testkit::Stack;
use serde_json::Value;

use super::{erase, journal_path};
use crate::{
    account::deletion::{delete, deletion_by, done},
    eventually::eventually,
    metrics::Metrics,
    superuser_sql::scalar_with,
};

#[tokio::test]
async fn a_completed_erasure_is_a_line_with_an_id_and_a_time() {
    let journal = journal_path();
    let stack = Stack::builder()
        .variable("identity", "ERASURE_JOURNAL", journal.to_str().unwrap())
        .start()
        .await
        .unwrap();
    let [ada, bob] = [stack.person().await.unwrap(), stack.person().await.unwrap()];
    erase(&stack, &ada).await;
    erase(&stack, &bob).await;
    let lines = fs::read_to_string(&journal).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (line, person) in lines.iter().zip([&ada, &bob]) {
        assert_eq!(line["user_id"], person.id.to_string());
        let sql = "SELECT to_char(completed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')
            FROM identity.erasures WHERE user_id = $1";
        let completed: String = scalar_with(&stack.database, sql, person.id).await;
        assert_eq!(line["completed_at"], completed);
        assert_eq!(line.as_object().unwrap().len(), 2, "{line}");
    }
    assert_eq!(lines.len(), 2);
    fs::remove_dir_all(journal.parent().unwrap()).unwrap();
}

#[tokio::test]
async fn an_erasure_stays_pending_until_the_journal_has_it() {
    let journal = journal_path();
    let directory = journal.parent().unwrap().to_owned();
    let mut stack = Stack::builder()
        .variable("identity", "ERASURE_JOURNAL", journal.to_str().unwrap())
        .start()
        .await
        .unwrap();
    let ada = stack.person().await.unwrap();
    fs::remove_dir(&directory).unwrap();
    let client = stack.user(&ada).unwrap();
    let deletion = delete(&client, &deletion_by(&ada)).await.unwrap();
    assert_eq!(deletion.state(), DeletionState::Pending);
    // Data has erased the person; identity goes on trying to write it down.
    let erased = "SELECT count(*) FROM data.tombstones WHERE user_id = $1";
    let failures = async || {
        let metrics = Metrics::read(stack.identity.listeners.metrics).await;
        metrics.sum("haven_erasure_journal_appends_total", &[("outcome", "failed")])
    };
    eventually("two attempts fail", async || failures().await >= Some(2.0)).await;
    assert_eq!(scalar_with::<i64, _>(&stack.database, erased, ada.id).await, 1);
    let completed = "SELECT count(completed_at) FROM identity.erasures WHERE user_id = $1";
    assert_eq!(scalar_with::<i64, _>(&stack.database, completed, ada.id).await, 0);
    let log = fs::read_to_string(stack.identity.log()).unwrap();
    assert!(log.contains("cannot append to the journal of erasures"), "{log}");

    // A restart loses nothing either.
    fs::create_dir(&directory).unwrap();
    stack.identity.kill();
    stack.identity.start().await.unwrap();
    done(&stack, &ada).await;
    let lines = fs::read_to_string(&journal).unwrap();
    assert!(lines.contains(&ada.id.to_string()), "{lines}");
    let metrics = Metrics::read(stack.identity.listeners.metrics).await;
    let written = metrics.sum("haven_erasure_journal_appends_total", &[("outcome", "written")]);
    assert!(written >= Some(1.0), "{written:?}");
    fs::remove_dir_all(&directory).unwrap();
}
