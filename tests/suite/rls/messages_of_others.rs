//! Messages of the coach and the system: a person may delete them from the conversation, and may not change them. The
//! matrix only has messages of the person.

use anyhow::Result;
use haven_testkit::{database::Database, secrets::SUPERUSER};

use super::{
    caller::{A, B, Caller},
    expectation::Outcome,
    report, seeded,
    session::Session,
};

/// The setting of a transaction that seals rows again under another key.
const CHANGES_SEALS: &str = "SELECT set_config('data.changes_seals', 'yes', true)";

/// Returns the outcome of each statement by itself, as A, after `setup`.
async fn outcomes(database: &Database, setup: &str, statements: &[String]) -> Result<Vec<Outcome>> {
    let mut session = Session::open(database, "data_app").await?;
    session.begin(Some("data_user"), Caller::PersonA).await?;
    let outcomes = session.attempt_all(setup, statements).await?;
    session.rollback().await?;
    Ok(outcomes)
}

#[tokio::test]
async fn messages_of_other_senders_may_be_deleted_and_resealed_but_not_changed() -> Result<()> {
    let database = seeded().await?;
    // A and B already have messages of their own.
    let others = format!(
        "INSERT INTO data.conversations
             (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
         SELECT person::uuid, gen_random_uuid(), 100 + number, sender, 'gAAAA', 'test-1', now(), now()
         FROM unnest(ARRAY['{A}', '{B}']) AS person,
             unnest(ARRAY['coach', 'system']) WITH ORDINALITY AS other (sender, number)"
    );
    database.run(SUPERUSER, &others).await?;
    let mut failures = Vec::new();
    for (what, setup, updated, deleted) in [
        ("without the setting", "", [1, 0, 0], [1, 1, 1]),
        ("with the setting", CHANGES_SEALS, [1, 1, 1], [1, 1, 1]),
        (
            "with another value of the setting",
            "SELECT set_config('data.changes_seals', 'no', true)",
            [1, 0, 0],
            [1, 1, 1],
        ),
    ] {
        for (position, sender) in ["user", "coach", "system"].into_iter().enumerate() {
            for (person, own) in [(A, true), (B, false)] {
                let rows = format!("WHERE user_id = '{person}' AND sender_type = '{sender}'");
                let statements = [
                    format!("UPDATE data.conversations SET message_text = 'gAAAAB' {rows}"),
                    format!("DELETE FROM data.conversations {rows}"),
                ];
                let expected =
                    [updated, deleted].map(|rows| Outcome::Rows(if own { rows[position] } else { 0 }));
                let found = outcomes(&database, setup, &statements).await?;
                if found != expected {
                    failures.push(format!(
                        "{what}, {sender} of {person}: expected {expected:?}, found {found:?}"
                    ));
                }
            }
        }
    }
    report(&failures)
}
