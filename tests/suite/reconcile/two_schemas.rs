//! A restore of both schemas to an older time takes erasures back; the journal makes them again before the services serve.

use std::{fs, io::Write};

use haven_testkit::Stack;

use super::{
    erase, journal_path, messages, person_with_message, reconcile, reconciled, schema_dump::SchemaDump, state,
};

#[tokio::test]
async fn the_journal_erases_again_before_the_services_serve() {
    let journal = journal_path();
    let path = journal.to_str().unwrap();
    let mut stack = Stack::builder()
        .variable("identity", "ERASURE_JOURNAL", path)
        .start()
        .await
        .unwrap();
    let kept = person_with_message(&stack).await;
    let erased = person_with_message(&stack).await;
    let dumps = ["identity", "data"].map(|schema| SchemaDump::take(&stack, schema));
    erase(&stack, &erased).await;
    let late_erased = person_with_message(&stack).await;
    erase(&stack, &late_erased).await;

    assert!(stack.identity.stop() && stack.data.stop());
    for dump in &dumps {
        dump.restore(&stack);
    }
    assert_eq!(state(&stack, erased.id).await, "account person");
    // The restored schemas agree with each other: only the journal knows.
    let people = [erased.id, late_erased.id];
    let listed = reconcile(&stack, &["--without-data", "--erasures", path]).await;
    assert_eq!((listed.code, listed.people("erase").len()), (1, 2), "{listed:?}");
    assert_eq!(state(&stack, erased.id).await, "account person");

    // A line that is no erasure stops the replay before anyone is erased.
    let copy = journal.with_file_name("copy.jsonl");
    let lines = fs::read_to_string(&journal).unwrap();
    fs::write(&copy, lines.replacen('\n', "\nnot an erasure\n", 1)).unwrap();
    let refused = reconcile(
        &stack,
        &["--without-data", "--apply", "--erasures", copy.to_str().unwrap()],
    )
    .await;
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("copy.jsonl, line 2: ") && refused.stderr.contains("nothing was changed"),
        "{refused:?}"
    );
    assert_eq!(state(&stack, erased.id).await, "account person");

    // A torn last line is what a crash leaves behind.
    let mut file = fs::OpenOptions::new().append(true).open(&journal).unwrap();
    file.write_all(b"{\"user_id\":\"0189").unwrap();
    let replayed = reconciled(&stack, &["--without-data", "--apply", "--erasures", path]).await;
    let mut expected = people;
    expected.sort_unstable();
    assert_eq!(replayed.people("erase"), expected);
    // Identity has no account before it serves; data is told next.
    assert_eq!(state(&stack, erased.id).await, "person");
    let again = reconciled(&stack, &["--without-data", "--apply", "--erasures", path]).await;
    assert_eq!(again.people("erase").len(), 0, "{again:?}");

    // It is not ready without identity, and answers nevertheless.
    stack.data.launch().unwrap();
    stack.data.alive().await.unwrap();
    reconciled(&stack, &["--apply"]).await;
    for person in people {
        assert_eq!(state(&stack, person).await, "receipt tombstone");
        assert_eq!(messages(&stack, person).await, 0);
    }
    stack.identity.start().await.unwrap();
    let signed_in = stack
        .anonymous()
        .unwrap()
        .sign_in(&erased.email, &erased.password)
        .await;
    assert!(signed_in.is_err());
    assert_eq!(state(&stack, kept.id).await, "account person");
    assert_eq!(messages(&stack, kept.id).await, 1);
    reconciled(&stack, &["--erasures", path]).await;
    fs::remove_dir_all(journal.parent().unwrap()).unwrap();
}
