//! What keeps it possible to shard the database by person: rows of one person reference and are unique among rows of the same
//! person, so they can be moved together.

use anyhow::Result;
use haven_testkit::secrets::SUPERUSER;

use super::empty;

/// Tables without a person. Each would have one copy on every shard, or a home of its own, for the reason beside it.
const WITHOUT_A_PERSON: &[(&str, &str)] = &[
    (
        "identity.rate_limits",
        "counted by network, address or service; unlogged, so each shard may count for itself",
    ),
    ("identity.failures", "counted by address; unlogged"),
    (
        "identity.ended_sessions",
        "a list for all verifiers, the union of the shards' lists",
    ),
    (
        "data.crisis_feed",
        "numbers the feed that services watch; a shard is a feed",
    ),
    ("data.sync_epochs", "the history of one database, so of one shard"),
];

/// Unique keys that do not begin with the person, each with what would keep it unique over all shards.
const ACROSS_PEOPLE: &[(&str, &str)] = &[
    (
        "identity.users_email_canonical_key",
        "one account for an address: a directory of addresses, which also finds the shard",
    ),
    (
        "identity.requests_sign_up_key",
        "a retry of SignUp has no person yet: the same directory",
    ),
    (
        "identity.refresh_tokens_token_hash_key",
        "256 random bits are unique by themselves; the token has to name its shard",
    ),
    (
        "identity.recovery_tokens_token_hash_key",
        "256 random bits are unique by themselves; the token has to name its shard",
    ),
    (
        "identity.erasures_service_request_key",
        "a service's retry of a deletion: the request names the person, so the shard",
    ),
    (
        "data.share_token_token_hash_key",
        "256 random bits are unique by themselves; the token has to name its shard",
    ),
    (
        "data.crisis_events_number_key",
        "numbers of the feed of one shard",
    ),
];

async fn names(sql: &'static str) -> Result<Vec<String>> {
    let database = empty().await?;
    let mut superuser = database.connect(SUPERUSER).await?;
    Ok(sqlx::query_scalar(sql).fetch_all(&mut superuser).await?)
}

fn listed(list: &[(&str, &str)]) -> Vec<String> {
    let mut names: Vec<String> = list.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn every_table_has_a_person_or_is_listed_with_its_reason() -> Result<()> {
    let without = names(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname IN ('identity', 'data') AND c.relkind IN ('r', 'p') AND c.relname <> '_sqlx_migrations'
            AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
                AND a.attname = CASE c.relname WHEN 'users' THEN 'id' ELSE 'user_id' END)
          ORDER BY 1",
    )
    .await?;
    assert_eq!(without, listed(WITHOUT_A_PERSON));
    Ok(())
}

#[tokio::test]
async fn every_unique_key_begins_with_the_person_or_is_listed_with_its_reason() -> Result<()> {
    let across = names(
        "SELECT i.indexrelid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_attribute person ON person.attrelid = c.oid AND NOT person.attisdropped
                AND person.attname = CASE c.relname WHEN 'users' THEN 'id' ELSE 'user_id' END
          WHERE n.nspname IN ('identity', 'data') AND i.indisunique AND i.indkey[0] <> person.attnum
          ORDER BY 1",
    )
    .await?;
    assert_eq!(across, listed(ACROSS_PEOPLE));
    Ok(())
}

#[tokio::test]
async fn every_foreign_key_begins_with_the_person_on_both_sides() -> Result<()> {
    let foreign = names(
        "SELECT f.conname || ' of ' || f.conrelid::regclass FROM pg_constraint f
           JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class r ON r.oid = f.confrelid
           JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
           JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = f.confkey[1]
          WHERE f.contype = 'f' AND (
                a.attname <> CASE c.relname WHEN 'users' THEN 'id' ELSE 'user_id' END
                OR b.attname <> CASE r.relname WHEN 'users' THEN 'id' ELSE 'user_id' END)
          ORDER BY 1",
    )
    .await?;
    assert_eq!(foreign, Vec::<String>::new());
    let all: Vec<String> = names("SELECT conname::text FROM pg_constraint WHERE contype = 'f'").await?;
    assert!(all.len() > 20, "{} foreign keys", all.len());
    Ok(())
}

/// A number that all people share would have to be given out in one place.
#[tokio::test]
async fn no_table_has_a_sequence() -> Result<()> {
    let sequences = names(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
          WHERE n.nspname IN ('identity', 'data') AND c.relkind = 'S' ORDER BY 1",
    )
    .await?;
    assert_eq!(sequences, Vec::<String>::new());
    Ok(())
}
