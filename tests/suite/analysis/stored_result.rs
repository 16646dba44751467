//! Results, put into the tables as a worker's answer is: for tests that need more of them than there are messages.

use haven_data::domain::{analysis_details::AnalysisDetails, key_ring::KeyRing};
use haven_platform::call::UserId;
use haven_testkit::{Person, Stack, random};
use uuid::Uuid;

use crate::superuser_sql::execute;

/// The keys that the data service of `stack` seals under.
fn keys(stack: &Stack) -> KeyRing {
    let keys = &stack.data.variables["MESSAGE_KEYS"];
    let (id, key) = keys.split_once(':').unwrap();
    KeyRing::new(&[(id.to_owned(), key.to_owned().into())]).unwrap()
}

/// A done job with its result over `first` to `last`, which says `words` in each list. Answers its id. Who has said nothing
/// gets a counter, as everybody has of whom there is an analysis.
pub(super) async fn found(stack: &Stack, person: &Person, (first, last): (i64, i64), words: &[&str]) -> Uuid {
    let id = random::uuid();
    let list = || words.iter().map(|word| (*word).to_owned()).collect();
    let details = AnalysisDetails::parse(list(), list(), list()).unwrap();
    let sealed = details
        .seal(&keys(stack), UserId::new(person.id), id, chrono::Utc::now())
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
