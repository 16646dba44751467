//! Events older than the retention time are trimmed, and the rest of the chain still verifies.

use haven_testkit::{Person, Stack};

use super::{as_service, events, make_event, person_with_events, verify};
use crate::{eventually::eventually, metrics::Metrics, superuser_sql::execute};

#[tokio::test]
async fn a_trimmed_chain_still_verifies() {
    let stack = Stack::start().await.unwrap();
    let (ada, bob) = (person_with_events(&stack).await, person_with_events(&stack).await);
    let client = stack.user(&ada).unwrap();
    let numbers = async || {
        let events = events(&client).await;
        events.iter().map(|event| event.number).collect::<Vec<_>>()
    };
    replace_log(&stack, &ada, "(50 - n * 10) * interval '1 day'", 5).await;
    // No event is older than 1,000 days.
    as_service(&stack.database, "identity.trim_audit_log('1000 days', 100)").await;
    assert_eq!(numbers().await, [5, 4, 3, 2, 1]);
    as_service(&stack.database, "identity.trim_audit_log('25 days', 100)").await;
    assert_eq!(numbers().await, [5, 4, 3]);
    let verdict = verify(&stack);
    assert_eq!(verdict.code, 0, "{:?}", verdict.broken);
    assert_eq!(verdict.summary, "2 chains, 8 whole events, 0 broken chains");

    // The last day is never trimmed.
    as_service(&stack.database, "identity.trim_audit_log('-100 years', 100)").await;
    assert_eq!(numbers().await, [5]);
    assert_eq!(verify(&stack).code, 0);
    make_event(&client).await;
    assert_eq!(numbers().await, [6, 5], "the numbering continues");
    assert_eq!(verify(&stack).code, 0);

    let attack = format!(
        "UPDATE identity.audit_chains SET trimmed_digest = sha256('x') WHERE user_id = '{}'",
        ada.id
    );
    execute(&stack.database, &attack).await;
    let verdict = verify(&stack);
    assert_eq!((verdict.code, verdict.broken.len()), (1, 1));
    assert!(verdict.broken[0].starts_with(&format!("{}: event 5", ada.id)));
    drop(bob);
}

/// Replaces the person's log by `count` events. `age` is an SQL expression of the age of event `n`.
async fn replace_log(stack: &Stack, person: &Person, age: &str, count: u32) {
    let begin = format!(
        "BEGIN; DELETE FROM identity.security_audit_log WHERE user_id = '{id}';
         DELETE FROM identity.audit_chains WHERE user_id = '{id}';
         SET LOCAL ROLE identity_user;
         SELECT set_config('request.jwt.claims', '{{\"sub\":\"{id}\"}}', true);
         SELECT identity.append_audit_event('sign_in', false, NULL, NULL, NULL, now() - {age})
             FROM generate_series(1, {count}) AS n;
         COMMIT",
        id = person.id
    );
    execute(&stack.database, &begin).await;
}

#[tokio::test]
async fn the_service_trims_events_older_than_its_retention_time() {
    let mut stack = Stack::builder()
        .variable("identity", "AUDIT_RETENTION_DAYS", "30")
        .start()
        .await
        .unwrap();
    let person = stack.person().await.unwrap();
    stack.identity.stop();
    replace_log(&stack, &person, "(35 - n) * interval '1 day'", 10).await;
    stack.identity.start().await.unwrap();
    let client = stack.user(&person).unwrap();
    // The five events of 30 to 34 days ago.
    eventually("the old events are trimmed", async || {
        events(&client).await.last().map(|event| event.number) == Some(6)
    })
    .await;
    assert_eq!(events(&client).await.len(), 5);
    let verdict = verify(&stack);
    assert_eq!(verdict.code, 0, "{:?}", verdict.broken);
    let page = Metrics::read(stack.identity.listeners.metrics).await;
    let trimmed = [("table", "security_audit_log")];
    assert_eq!(
        page.sum("haven_swept_rows_total", &trimmed),
        Some(5.0),
        "{}",
        page.page
    );
}
