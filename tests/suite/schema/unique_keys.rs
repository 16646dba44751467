//! Keys that are unique across people: what a person can do to another one by taking a key first.
//!
//! A person who writes a value that another person needs makes the other one's statement fail. So a key that does not begin
//! with its person is listed here, with the reason why no person can take another one's value.

use anyhow::Result;
use haven_testkit::secrets::SUPERUSER;

use super::empty;

/// The unique keys that do not begin with the person, each with the reason.
const ACROSS_PEOPLE: &[(&str, &str)] = &[
    ("data._sqlx_migrations_pkey", "written by migrations"),
    (
        "data.crisis_events_number_key",
        "no person sets a number: the policy of their INSERT wants none, and no person may update it",
    ),
    ("data.crisis_feed_pkey", "one row, which no person reaches"),
    (
        "data.share_token_token_hash_key",
        "a keyed hash of 256 random bits: only the holder of the token has the value, and no role may select it",
    ),
    (
        "data.sync_epochs_pkey",
        "written by functions, which give out the next number",
    ),
    ("data.users_pkey", "is the person"),
    ("identity._sqlx_migrations_pkey", "written by migrations"),
    (
        "identity.ended_sessions_pkey",
        "a digest that begins with the person's id, computed by the functions that end sessions",
    ),
    (
        "identity.erasures_service_request_key",
        "request ids of services; functions alone write receipts, and those of people are not in the index",
    ),
    (
        "identity.failures_pkey",
        "a keyed hash, which functions alone write",
    ),
    (
        "identity.rate_limits_pkey",
        "a keyed hash, which functions alone write",
    ),
    (
        "identity.recovery_tokens_token_hash_key",
        "a keyed hash of 256 random bits, which functions alone write",
    ),
    (
        "identity.refresh_tokens_token_hash_key",
        "a keyed hash of 256 random bits: only the holder of the token has the value, and no role may select it",
    ),
    (
        "identity.requests_sign_up_key",
        "request ids of sign-ups, which have no person yet: 122 random bits that the client chooses. Who knows one sees \
         REQUEST_ID_REUSED, and the client signs up with another one",
    ),
    (
        "identity.users_email_canonical_key",
        "one account for an address: who signs up first has it, and the limits and EMAIL_TAKEN are about that",
    ),
    ("identity.users_pkey", "is the person"),
];

#[tokio::test]
async fn every_key_across_people_is_listed_with_the_reason_why_no_person_can_take_it_first() -> Result<()> {
    let database = empty().await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           LEFT JOIN pg_attribute first ON first.attrelid = c.oid AND first.attnum = i.indkey[0]
          WHERE n.nspname IN ('identity', 'data') AND (i.indisunique OR i.indisexclusion)
            AND first.attname IS DISTINCT FROM 'user_id'
          ORDER BY 1",
    )
    .fetch_all(&mut superuser)
    .await?;
    let mut listed: Vec<&str> = ACROSS_PEOPLE.iter().map(|(key, _)| *key).collect();
    listed.sort_unstable();
    assert_eq!(found, listed);
    Ok(())
}
