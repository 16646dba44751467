//! Analyses that are inserted into the tables as a worker's answer is: for tests that need more of them than messages.

use haven_data::domain::{analysis::cell, analysis_details::AnalysisDetails, key_ring::KeyRing};
use haven_platform::call::UserId;
use haven_testkit::{Person, Stack, random};
use uuid::Uuid;

use crate::superuser_sql::execute;

/// Returns the message keys of the data service of `stack`.
fn keys(stack: &Stack) -> KeyRing {
    let keys = &stack.data.variables["MESSAGE_KEYS"];
    let (id, key) = keys.split_once(':').unwrap();
    KeyRing::new(&[(id.to_owned(), key.to_owned().into())]).unwrap()
}

/// Inserts a done job over the messages `first` to `last` with its result, which has `words` in each list. Returns its
/// id. A person without messages also gets a counter, which every person with an analysis has.
pub(super) async fn store_result(
    stack: &Stack,
    person: &Person,
    (first, last): (i64, i64),
    words: &[&str],
) -> Uuid {
    let id = random::uuid();
    let list = || words.iter().map(|word| (*word).to_owned()).collect();
    let details = AnalysisDetails::parse(list(), list(), list()).unwrap();
    let sealed = details
        .seal(&keys(stack), cell(UserId::new(person.id), id), chrono::Utc::now())
        .unwrap();
    let (owner, token, key_id) = (person.id, sealed.token, sealed.key_id);
    execute(
        &stack.database,
        &format!(
            "INSERT INTO data.conversation_counters (user_id, last_number) VALUES ('{owner}', {last})
             ON CONFLICT DO NOTHING;
             INSERT INTO data.analysis_jobs (user_id, id, first_number, last_number, requested, state, priority,
                 start_after, created_at, finished_at)
             VALUES ('{owner}', '{id}', {first}, {last}, false, 'done', 0, now(), now(), now());
             INSERT INTO data.analysis_results (user_id, id, analysis_type, chat_score, first_number, last_number,
                 details, key_id, triggered_milestone, created_at)
             VALUES ('{owner}', '{id}', 'milestone_check', 73, {first}, {last}, '{token}', '{key_id}', 'first_party',
                 '2026-11-22T12:00:00Z')"
        ),
    )
    .await;
    id
}
