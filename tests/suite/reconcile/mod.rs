//! `identity reconcile`: identity and data agree about their people after a restore of one schema or of both, no erased
//! person is alive, and no person is erased who was not.

mod command;
mod interrupted;
mod journal;
mod list_users;
mod locked_people;
mod many_people;
mod one_schema;
mod orphans;
mod races;
mod schema_dump;
mod two_schemas;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use haven_proto::{data::v1::Message, identity::v1::DeletionState};
use haven_testkit::{Client, Person, Stack, binaries::Binaries, random};
use tonic::Status;
use uuid::Uuid;

use crate::{
    account::deletion::{delete, deletion_by, done},
    crisis_message::saying,
    retry::retry_call,
    superuser_sql::scalar_with,
};

/// The output of `identity reconcile`.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// Returns the people on the lines that begin with `name`, sorted.
    fn people(&self, name: &str) -> Vec<Uuid> {
        let lines = self.stdout.lines().filter_map(|line| {
            let (first, rest) = line.split_once(' ')?;
            (first == name).then(|| rest.trim_start().split(' ').next()?.parse().ok())?
        });
        let mut people: Vec<Uuid> = lines.collect();
        people.sort_unstable();
        people
    }

    /// Returns the last count with this name.
    fn count(&self, name: &str) -> u64 {
        let lines = self.stdout.lines().rev();
        let mut counts =
            lines.filter_map(|line| line.strip_prefix(name)?.trim().replace(',', "").parse().ok());
        counts
            .next()
            .unwrap_or_else(|| panic!("no count of {name}: {self:?}"))
    }
}

/// Returns the command `identity reconcile` with the environment of the service. No person is too new to be judged.
fn command(stack: &Stack, arguments: &[&str]) -> Command {
    let mut command = Command::new(Binaries::build().unwrap().of("identity"));
    command.arg("reconcile").args(arguments);
    if !arguments.contains(&"--grace") {
        command.args(["--grace", "0"]);
    }
    command
        .env_clear()
        .envs(&stack.identity.variables)
        .stdin(Stdio::null());
    command
}

/// Runs `identity reconcile`.
async fn reconcile(stack: &Stack, arguments: &[&str]) -> Ended {
    let mut command = command(stack, arguments);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs `identity reconcile`, which has to succeed.
async fn reconciled(stack: &Stack, arguments: &[&str]) -> Ended {
    let ended = reconcile(stack, arguments).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    ended
}

/// Appends a message of the person, with retries.
async fn append(client: &Client, text: &str) -> Result<Message, Status> {
    let mut conversation = client.conversation();
    let appended = retry_call(saying(text), async |request| {
        conversation.append_message(request).await
    });
    Ok(appended.await?.message.unwrap())
}

/// Signs up a person who has a message.
async fn person_with_message(stack: &Stack) -> Person {
    let person = stack.person().await.unwrap();
    append(&stack.user(&person).unwrap(), "I said hello first today.")
        .await
        .unwrap();
    person
}

/// Erases the account of the person, and waits until the deletion is done.
async fn erase(stack: &Stack, person: &Person) {
    let client = stack.user(person).unwrap();
    delete(&client, &deletion_by(person)).await.unwrap();
    assert_eq!(done(stack, person).await.state(), DeletionState::Done);
}

/// Returns what each schema has of the person: `account` or `receipt`, `person` or `locked` or `tombstone`.
async fn state(stack: &Stack, person: Uuid) -> String {
    let sql = "SELECT concat_ws(' ',
            (SELECT 'account' FROM identity.users WHERE id = $1),
            (SELECT 'receipt' FROM identity.erasures WHERE user_id = $1 AND completed_at IS NOT NULL),
            (SELECT CASE WHEN locked_at IS NULL THEN 'person' ELSE 'locked' END FROM data.users WHERE id = $1),
            (SELECT 'tombstone' FROM data.tombstones WHERE user_id = $1))";
    scalar_with(&stack.database, sql, person).await
}

/// Returns the number of the person's messages, whether they are reachable or not.
async fn messages(stack: &Stack, person: Uuid) -> i64 {
    let sql = "SELECT count(*) FROM data.conversations WHERE user_id = $1";
    scalar_with(&stack.database, sql, person).await
}

/// Returns a path for a journal of erasures, in a new directory.
fn journal_path() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("haven-journal-{}", random::uuid()));
    fs::create_dir(&directory).unwrap();
    directory.join("erasures.jsonl")
}
