//! The subcommand `secret-keys`, and the check at start that the ring has the keys that stored hashes need.

use std::{
    io::{self, Write},
    sync::Arc,
};

use clap::{Args, Subcommand};

use crate::{
    application::{Application, CommandError, Inspection},
    config::{ConfigProblems, SecretKeysArgs, WorkerArgs},
    database::{Database, HashCount, InspectionError},
    mac::KeyId,
};

/// The arguments of `secret-keys`.
#[derive(Args)]
pub(crate) struct SecretKeysCommandArgs {
    #[command(subcommand)]
    command: SecretKeysCommand,
}

#[derive(Subcommand)]
enum SecretKeysCommand {
    /// Count the stored hashes by key
    #[command(after_help = AFTER_STATUS)]
    Status(StatusArgs),
}

/// The flags of `secret-keys status`.
#[derive(Args)]
struct StatusArgs {
    #[command(flatten)]
    worker: WorkerArgs,
    #[command(flatten)]
    keys: SecretKeysArgs,
}

const AFTER_STATUS: &str = "\
Reads only the ids of keys, changes nothing, and may run beside the service. Each line has a column with keyed hashes, a key, \
the number of rows under the key, and the key's role in SECRET_KEY: it makes `new` hashes, it is `accepted`, or it is \
`missing`. An old key can be removed from SECRET_KEY when it has 0 rows in each column; deploy/README.md says how long that \
takes, and what is lost when a key goes before.

Exit codes: 0 every needed key is configured, 1 a key is missing or the database cannot be read, 64 the configuration is \
invalid.";

/// Runs the subcommand.
///
/// # Errors
///
/// When the configuration is invalid, the database cannot be read, or a key is missing.
pub(crate) async fn run<S: Application>(args: SecretKeysCommandArgs) -> Result<(), CommandError> {
    let SecretKeysCommand::Status(args) = args.command;
    let mut problems = ConfigProblems::new();
    let (worker, keys) = (
        args.worker.check(&mut problems, S::NAME),
        args.keys.check(&mut problems),
    );
    let (worker, keys) = problems.finish(worker.zip(keys))?;
    let database = Database::worker_only(&worker, S::migrations().newest())
        .await
        .map_err(CommandError::failed)?;
    let ids: Vec<KeyId> = keys.ids().collect();
    let counts = database.count_secret_keys().await.map_err(CommandError::failed)?;
    print(&counts, &ids, &mut io::stdout()).map_err(CommandError::failed)?;
    let missing = database
        .missing_secret_keys(&ids)
        .await
        .map_err(CommandError::failed)?;
    match missing.is_empty() {
        true => Ok(()),
        false => Err(CommandError::failed(needed(&missing))),
    }
}

/// Returns an inspection that first checks that the ring `keys` has the keys that stored hashes need, so that a missing key is
/// not found only when a call fails; and then does what `other` does.
pub(crate) fn inspection(database: Arc<Database>, keys: Vec<KeyId>, other: Inspection) -> Inspection {
    let other = Arc::new(other);
    Box::new(move || {
        let (database, keys, other) = (Arc::clone(&database), keys.clone(), Arc::clone(&other));
        Box::pin(async move {
            let missing = database.missing_secret_keys(&keys).await?;
            if !missing.is_empty() {
                return Err(InspectionError::Refused(needed(&missing)));
            }
            other().await
        })
    })
}

/// Says which keys are missing.
fn needed(missing: &[String]) -> String {
    let ids: Vec<String> = missing.iter().map(|id| format!("`{id}`")).collect();
    format!(
        "stored hashes are under {}, missing from SECRET_KEY: add the missing keys back, after the key that makes new hashes; a \
         single key without an id has the id `k1`",
        ids.join(" and ")
    )
}

/// Prints a line for each column and key; within a column, the keys of the ring come first, and missing keys last.
fn print(counts: &[HashCount], keys: &[KeyId], output: &mut impl Write) -> io::Result<()> {
    let mut hashes: Vec<&str> = counts.iter().map(|count| count.hash.as_str()).collect();
    hashes.dedup();
    for hash in hashes {
        let of_hash = || counts.iter().filter(move |count| count.hash == hash);
        let rows = |id: &str| {
            of_hash()
                .find(|count| count.key_id == id)
                .map_or(0, |count| count.count)
        };
        for (position, key) in keys.iter().enumerate() {
            let role = if position == 0 { "new" } else { "accepted" };
            line(output, hash, key.as_str(), rows(key.as_str()), role)?;
        }
        for count in of_hash().filter(|count| keys.iter().all(|key| key.as_str() != count.key_id)) {
            line(output, hash, &count.key_id, count.count, "missing")?;
        }
    }
    Ok(())
}

fn line(output: &mut impl Write, hash: &str, key: &str, rows: i64, role: &str) -> io::Result<()> {
    writeln!(output, "{hash:<26} {key:<8} {rows:>12} {role}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_a_line_for_each_column_and_key() {
        let count = |hash: &str, key_id: &str, count| HashCount {
            hash: hash.to_owned(),
            key_id: key_id.to_owned(),
            count,
        };
        let counts = [
            count("requests.payload_mac", "k0", 3),
            count("requests.payload_mac", "k1", 1_200_000),
            count("share_token.token_hash", "k2", 7),
        ];
        let keys = ["k2", "k1"].map(|id| KeyId::parse(id).unwrap());
        let mut output = Vec::new();
        print(&counts, &keys, &mut output).unwrap();
        assert_eq!(
            String::from_utf8(output).unwrap(),
            "requests.payload_mac       k2                  0 new\n\
             requests.payload_mac       k1            1200000 accepted\n\
             requests.payload_mac       k0                  3 missing\n\
             share_token.token_hash     k2                  7 new\n\
             share_token.token_hash     k1                  0 accepted\n"
        );
        let refused = needed(&["k0".to_owned(), "k3".to_owned()]);
        assert!(
            refused.contains("under `k0` and `k3`, missing from SECRET_KEY"),
            "{refused}"
        );
    }
}
