//! A person with a hundred thousand events: the memory for exporting them does not grow with their number.

use std::time::Instant;

use haven_testkit::Stack;

use super::{export, resume};
use crate::{
    person::export_data::hundred_thousand_rows::{peak, reset_peak},
    superuser_sql::execute,
};

/// The number of events.
const EVENTS: i64 = 100_000;

/// The permitted growth of the service's memory.
const GROWTH_KIB: u64 = 8 * 1024;

#[tokio::test]
async fn a_hundred_thousand_events_are_exported_in_little_memory() {
    let stack = Stack::start().await.unwrap();
    let ada = stack.person().await.unwrap();
    let client = stack.user(&ada).unwrap();
    let rows = format!(
        "INSERT INTO identity.security_audit_log (user_id, number, event, refused, service, occurred_at, digest)
            SELECT '{0}', 2 + n, 'sign_in', true, repeat('s', 255), now(), sha256('') FROM generate_series(1, {EVENTS}) AS n;
        UPDATE identity.audit_chains SET last_number = 2 + {EVENTS} WHERE user_id = '{0}'",
        ada.id
    );
    execute(&stack.database, &rows).await;
    // A reader that does not read holds neither memory nor a transaction.
    let mut waiting = resume(&client, "").await.unwrap();
    waiting.message().await.unwrap();
    let before = reset_peak(&stack.identity);
    let began = Instant::now();
    let export = export(&client).await.unwrap();
    let grown = peak(&stack.identity).saturating_sub(before);
    eprintln!("{EVENTS} events in {:?}: {grown} KiB more", began.elapsed());
    assert!(grown < GROWTH_KIB, "{grown} KiB more");
    let numbers = export.audit_events.iter().map(|event| event.number);
    // Each export has appended one event.
    assert!(numbers.eq(1..=EVENTS + 4));
    drop(waiting);
}
