//! Rows that do not open: the export names them, and has all others.

use haven_proto::data::v1::{CompleteJobRequest, UnreadableRow};
use haven_testkit::Stack;

use super::{counted, export, exported};
use crate::{
    account::deletion::rows::owned,
    analysis_jobs,
    crisis_message::saying,
    eventually::eventually,
    superuser_sql::{execute, scalar},
};

/// Returns the entry of an unreadable row of `table`.
fn row(table: &str, id: &str) -> UnreadableRow {
    UnreadableRow {
        table: table.to_owned(),
        id: id.to_owned(),
    }
}

#[tokio::test]
async fn rows_that_do_not_open_are_named_and_all_others_are_exported() {
    let stack = Stack::start().await.unwrap();
    let person = stack.person().await.unwrap();
    let ada = stack.user(&person).unwrap();
    let mut messages = Vec::new();
    for text in ["whole", "damaged", "moved", "without a key"] {
        let appended = ada.conversation().append_message(saying(text)).await.unwrap();
        messages.push(appended.into_inner().message.unwrap().id);
    }
    let lease = analysis_jobs::leased(&stack, &ada).await;
    let completion = CompleteJobRequest {
        insights: vec!["they are brave".to_owned()],
        ..analysis_jobs::completion(lease)
    };
    let worker = stack.service("worker").unwrap();
    worker.queue().complete_job(completion).await.unwrap();
    let whole = export(&ada).await.unwrap();
    // Including the message that the job is about.
    assert_eq!((whole.messages.len(), whole.unreadable.len()), (5, 0));

    let [_, damaged, moved, keyless] = &messages[..] else {
        panic!("{messages:?}")
    };
    let damage = format!(
        "UPDATE data.conversations SET message_text = overlay(message_text PLACING 'AAAA' FROM 40) WHERE id = '{damaged}';
         UPDATE data.conversations AS c SET message_text = o.message_text FROM data.conversations AS o
         WHERE c.id = '{moved}' AND o.number = 1;
         UPDATE data.conversations SET key_id = 'gone-1' WHERE id = '{keyless}';
         UPDATE data.analysis_results SET key_id = 'gone-1'"
    );
    execute(&stack.database, &damage).await;
    let analysis: String = scalar(&stack.database, "SELECT id::text FROM data.analysis_results").await;

    let export = export(&ada).await.unwrap();
    assert_eq!(
        export.messages,
        [whole.messages[0].clone(), whole.messages[4].clone()]
    );
    assert!(export.analyses.is_empty());
    let unreadable = [damaged, moved, keyless].map(|id| row("data.conversations", id));
    assert_eq!(export.unreadable[..3], unreadable);
    assert_eq!(export.unreadable[3..], [row("data.analysis_results", &analysis)]);
    // The manifest counts the unreadable rows.
    let manifest = exported(export.manifest.as_ref().unwrap());
    assert_eq!(manifest, counted(&export));
    assert_eq!(manifest["data.conversations"], 5);
    for (table, rows) in owned(&stack, &person).await {
        if let Some(exported) = manifest.get(&table) {
            assert_eq!(*exported, rows, "{table}");
        }
    }
    // The log names the rows, without their content.
    eventually("the rows are logged", async || {
        stack.data.output().unwrap().matches("cannot be opened").count() >= 4
    })
    .await;
    let log = stack.data.output().unwrap();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("cannot be opened"))
        .collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    for (line, id) in lines.iter().zip([damaged, moved, keyless, &analysis]) {
        assert!(line.contains(id.as_str()) && !line.contains("gAAAA"), "{line}");
    }
}
