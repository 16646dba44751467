//! Many people: the memory of the command does not grow with their number.

use std::{
    env, fs,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use haven_testkit::Stack;

use super::command;
use crate::superuser_sql::execute;

/// The number of people, unless the variable HAVEN_PEOPLE says otherwise.
const PEOPLE: u64 = 20_000;

/// The number of people that the memory is compared with.
const FEW: u64 = 1_000;

/// The memory that may be needed beyond that, in KiB: less than the ids of the other people.
const ROOM: u64 = 4 * 1024;

#[tokio::test]
async fn the_memory_does_not_grow_with_the_number_of_people() {
    let people = env::var("HAVEN_PEOPLE").map_or(PEOPLE, |people| people.parse().unwrap());
    let stack = Stack::start().await.unwrap();
    add(&stack, 1, FEW).await;
    let (few, _) = run(&stack, &[]).await;
    add(&stack, FEW + 1, people).await;
    let (many, time) = run(&stack, &[]).await;
    eprintln!("{people} people compared in {time:.1?} with {many} KiB; {FEW} people with {few} KiB");
    assert!(many < few + ROOM, "{few} KiB, {many} KiB");

    // Data loses them all, and learns of them again.
    execute(&stack.database, "DELETE FROM data.users").await;
    let (mending, time) = run(&stack, &["--apply"]).await;
    eprintln!("{people} people provisioned in {time:.1?} with {mending} KiB");
    assert!(mending < few + 2 * ROOM, "{few} KiB, {mending} KiB");
}

/// Adds the people with the numbers `first` to `last` to both schemas.
async fn add(stack: &Stack, first: u64, last: u64) {
    let sql = format!(
        "INSERT INTO identity.users (id, email, email_canonical, password_hash, goals, created_at, updated_at)
         SELECT gen_random_uuid(), n || '@example.org', n || '@example.org', '$argon2id$not-a-hash', '{{make_friends}}',
             now(), now()
         FROM generate_series({first}, {last}) AS n;
         INSERT INTO data.users (id, created_at) SELECT id, created_at FROM identity.users ON CONFLICT (id) DO NOTHING;
         ANALYZE identity.users, data.users"
    );
    execute(&stack.database, &sql).await;
}

/// Runs the command, which has to succeed. Returns the peak of its resident memory in KiB, and its time.
async fn run(stack: &Stack, arguments: &[&str]) -> (u64, Duration) {
    let began = Instant::now();
    let mut child = command(stack, arguments).stdout(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        peak = peak_memory(&child).unwrap_or_default().max(peak);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
    (peak, began.elapsed())
}

/// Returns the highest resident memory of a process so far, in KiB. `None` when the process has ended.
fn peak_memory(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}
