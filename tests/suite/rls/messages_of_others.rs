//! What the coach said is not a person's to say otherwise, and is theirs to delete. The matrix has people's own messages
//! alone; here are the others'.

use anyhow::Result;
use haven_testkit::{database::Database, secrets::SUPERUSER};

use super::{
    caller::{A, B, Caller},
    expectation::Outcome,
    intent::Intent,
    report, seeded,
    session::Session,
};

/// What a transaction says that seals anew.
const CHANGES_SEALS: &str = "SELECT set_config('data.changes_seals', 'yes', true)";

/// What comes of each statement on its own, as A, after `setup`.
async fn outcomes(database: &Database, setup: &str, statements: &[String]) -> Result<Vec<Outcome>> {
    let mut session = Session::open(database, &Intent::read(), "data_app").await?;
    session.begin(Some("data_user"), Caller::PersonA).await?;
    let outcomes = session.attempt_all(setup, statements).await?;
    session.rollback().await?;
    Ok(outcomes)
}

#[tokio::test]
async fn what_others_said_is_deleted_and_sealed_anew_and_not_changed() -> Result<()> {
    let database = seeded().await?;
    // A and B have said something already.
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
        ("as people do", "", [1, 0, 0], [1, 1, 1]),
        ("as whoever seals anew", CHANGES_SEALS, [1, 1, 1], [1, 1, 1]),
        (
            "with another word",
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
