//! The old end of the log goes after the retention time, and what is left still verifies.

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
    grow_old(&stack, &ada, "(50 - n * 10) * interval '1 day'", 5).await;
    // Nothing is older than the oldest event.
    as_service(&stack.database, "identity.trim_audit_log('1000 days', 100)").await;
    assert_eq!(numbers().await, [5, 4, 3, 2, 1]);
    as_service(&stack.database, "identity.trim_audit_log('25 days', 100)").await;
    assert_eq!(numbers().await, [5, 4, 3]);
    let verdict = verify(&stack);
    assert_eq!(verdict.code, 0, "{:?}", verdict.broken);
    assert_eq!(verdict.summary, "2 chains, 8 whole events, 0 broken chains");

    // The last day stays, whatever is asked for.
    as_service(&stack.database, "identity.trim_audit_log('-100 years', 100)").await;
    assert_eq!(numbers().await, [5]);
    assert_eq!(verify(&stack).code, 0);
    make_event(&client).await;
    assert_eq!(numbers().await, [6, 5], "the numbers go on");
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

/// Takes the place of somebody's log: `count` events, number n of which is `age` old.
async fn grow_old(stack: &Stack, person: &Person, age: &str, count: u32) {
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
async fn the_service_trims_by_itself() {
    let mut stack = Stack::builder()
        .variable("identity", "AUDIT_RETENTION_DAYS", "30")
        .start()
        .await
        .unwrap();
    let person = stack.person().await.unwrap();
    stack.identity.stop();
    grow_old(&stack, &person, "(35 - n) * interval '1 day'", 10).await;
    stack.identity.start().await.unwrap();
    let client = stack.user(&person).unwrap();
    // Those of 34, 33, 32, 31 and 30 days ago.
    eventually("the old events are gone", async || {
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
