//! Sealed columns: `data keys`, key rotation while the service runs, and tokens moved to other rows.

mod keys_status;
mod killed_rotation;
mod moved_tokens;
mod replacement_races;
mod rotation_under_load;
mod rotation_with_locked_rows;

use std::process::Command;

use base64::{Engine, engine::general_purpose::URL_SAFE};
use haven_data::domain::{
    analysis,
    key_ring::KeyRing,
    message,
    sealing::{Cell, Sealed},
};
use haven_platform::{call::UserId, config::keyed_secrets, time::Clock};
use haven_testkit::{Person, Stack, binaries::Binaries, random};
use sqlx::PgConnection;
use uuid::Uuid;

/// The id of the key that stacks start with.
const OLD: &str = "dev-1";

/// The exit code and the output of a run of `data keys`.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Returns the command `data keys <subcommand>` with the configuration of the stack's data service, and these keys.
fn command(stack: &Stack, message_keys: &str, subcommand: &str) -> Command {
    let mut command = Command::new(Binaries::build().unwrap().of("data"));
    command.args(["keys", subcommand]).env_clear();
    command
        .envs(&stack.data.variables)
        .env("MESSAGE_KEYS", message_keys);
    command
}

/// Runs `data keys <subcommand>` to its end.
async fn keys(stack: &Stack, message_keys: &str, subcommand: &str) -> Ended {
    let mut command = command(stack, message_keys, subcommand);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = output.await.unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Returns `MESSAGE_KEYS` of the stack's data service.
fn own_keys(stack: &Stack) -> String {
    stack.data.variables["MESSAGE_KEYS"].clone()
}

/// Returns a new key with the id `new`.
fn new_key() -> String {
    format!("new:{}", URL_SAFE.encode(rand::random::<[u8; 32]>()))
}

/// Restarts the stack's data service with other keys.
async fn restart(stack: &mut Stack, message_keys: &str) -> anyhow::Result<()> {
    stack.data.stop();
    let keys = ("MESSAGE_KEYS".to_owned(), message_keys.to_owned());
    stack.data.variables.extend([keys]);
    stack.data.start().await
}

/// Returns the key ring of a `MESSAGE_KEYS` value.
fn ring(message_keys: &str) -> KeyRing {
    KeyRing::new(&keyed_secrets(&message_keys.into()).unwrap()).unwrap()
}

/// Seals `text` for `cell` with the ring's sealing key.
fn seal(ring: &KeyRing, cell: Cell, text: &str) -> Sealed {
    ring.seal(cell, text, Clock::system().now())
}

async fn superuser(stack: &Stack) -> PgConnection {
    stack.database.connect("postgres").await.unwrap()
}

/// Returns the text of the message with this number that [`seed`] inserts.
fn seeded_text(number: i64) -> String {
    format!("the message with number {number}")
}

/// Inserts messages of a day ago into a new conversation of `person`, sealed under the first of `message_keys`. Their
/// senders are, in turn, the person, the coach and the system. Returns their ids in the order of their numbers.
async fn seed(stack: &Stack, person: &Person, message_keys: &str, count: i64) -> Vec<Uuid> {
    let (ring, owner) = (ring(message_keys), UserId::new(person.id));
    let ids: Vec<_> = (0..count).map(|_| random::uuid()).collect();
    let tokens: Vec<_> = ids
        .iter()
        .zip(1..)
        .map(|(id, number)| seal(&ring, message::cell(owner, *id), &seeded_text(number)).token)
        .collect();
    let seeding = sqlx::query(
        "WITH counter AS (
            INSERT INTO data.conversation_counters (user_id, last_number) VALUES ($1, $2)
        )
        INSERT INTO data.conversations
            (user_id, id, number, sender_type, message_text, key_id, created_at, updated_at)
        SELECT $1, id, number, (ARRAY['system', 'user', 'coach'])[1 + number % 3], token, $5, now() - interval '1 day', now() - interval '1 day'
        FROM unnest($3, $4) WITH ORDINALITY AS m (id, token, number)",
    );
    let seeding = seeding.bind(person.id).bind(count).bind(&ids).bind(&tokens);
    seeding
        .bind(ring.sealing_id())
        .execute(&mut superuser(stack).await)
        .await
        .unwrap();
    ids
}

/// Inserts an analysis of the person's first message with `details`. Returns its id.
async fn seed_analysis(stack: &Stack, person: &Person, message_keys: &str, details: &str) -> Uuid {
    let (ring, id) = (ring(message_keys), random::uuid());
    let sealed = seal(&ring, analysis::cell(UserId::new(person.id), id), details);
    let mut superuser = superuser(stack).await;
    let job =
        "INSERT INTO data.analysis_jobs (user_id, id, first_number, last_number, requested, state, priority,
            start_after, created_at, finished_at)
        VALUES ($1, $2, 1, 1, true, 'done', 1, now(), now(), now())";
    let job = sqlx::query(job).bind(person.id).bind(id);
    job.execute(&mut superuser).await.unwrap();
    let result = "INSERT INTO data.analysis_results (user_id, id, analysis_type, chat_score, first_number, last_number,
            details, key_id, created_at)
        VALUES ($1, $2, 'chat_scoring', 73, 1, 1, $3, $4, now())";
    let result = sqlx::query(result).bind(person.id).bind(id);
    let result = result.bind(sealed.token).bind(sealed.key_id);
    result.execute(&mut superuser).await.unwrap();
    id
}

/// Returns the number of rows, in both tables, that are sealed under the key.
async fn rows_under(stack: &Stack, key_id: &str) -> i64 {
    let count = "SELECT (SELECT count(*) FROM data.conversations WHERE key_id = $1)
        + (SELECT count(*) FROM data.analysis_results WHERE key_id = $1)";
    let count = sqlx::query_scalar(count).bind(key_id);
    count.fetch_one(&mut superuser(stack).await).await.unwrap()
}
