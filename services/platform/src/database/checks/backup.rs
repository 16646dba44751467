//! The check of the age of backups. It reads what pgBackRest says, because Postgres does not know of its backups.

use serde::Deserialize;

use super::Outcome;

/// The name of the check.
pub const NAME: &str = "backup-age";

/// The rule of the check.
pub const TITLE: &str = "the newest backup is at most 25 hours old, and the newest full one 8 days";

/// The reason for the rule.
pub const MEANING: &str =
    "A restore replays all changes since the backup, and depends on every file of the archive since.";

/// The action that mends a violation.
pub const REMEDY: &str = "run pgbackrest backup, and read its log and its timer's";

/// The maximum age of the newest backup, in seconds: a day, and an hour for the backup itself.
const NEWEST: i64 = 25 * 3600;

/// The maximum age of the newest full backup, in seconds.
const FULL: i64 = 8 * 24 * 3600;

/// A stanza in the output of `pgbackrest info --output=json`.
#[derive(Deserialize)]
struct Stanza {
    name: String,
    status: Status,
    #[serde(default)]
    backup: Vec<Backup>,
}

#[derive(Deserialize)]
struct Status {
    code: i64,
    message: String,
}

#[derive(Deserialize)]
struct Backup {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    error: Option<bool>,
    timestamp: Timestamp,
}

#[derive(Deserialize)]
struct Timestamp {
    stop: i64,
}

/// Returns the outcome for the output of `pgbackrest info --output=json`. `now` is in seconds since 1970.
#[must_use]
pub fn outcome(info: &str, now: i64) -> Outcome {
    let objects = match serde_json::from_str::<Vec<Stanza>>(info) {
        Ok(stanzas) if stanzas.is_empty() => vec!["there is no stanza".to_owned()],
        Ok(stanzas) => stanzas.iter().flat_map(|stanza| stanza.violations(now)).collect(),
        Err(error) => vec![format!(
            "this is not the output of pgbackrest info --output=json: {error}"
        )],
    };
    if objects.is_empty() {
        Outcome::Pass
    } else {
        Outcome::Fail { objects }
    }
}

impl Stanza {
    fn violations(&self, now: i64) -> Vec<String> {
        let name = &self.name;
        if self.status.code != 0 {
            return vec![format!("stanza {name}: {}", self.status.message)];
        }
        let whole = || self.backup.iter().filter(|backup| backup.error != Some(true));
        let newest = whole().map(|backup| backup.timestamp.stop).max();
        let full = whole()
            .filter(|backup| backup.kind == "full")
            .map(|backup| backup.timestamp.stop)
            .max();
        let mut found = Vec::new();
        for (kind, stop, limit) in [("", newest, NEWEST), ("full ", full, FULL)] {
            match stop {
                None => found.push(format!("stanza {name}: there is no {kind}backup")),
                Some(stop) if now - stop > limit => found.push(format!(
                    "stanza {name}: the newest {kind}backup is {} hours old",
                    (now - stop) / 3600
                )),
                Some(_) => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn info(code: i64, backups: &[(&str, i64, bool)]) -> String {
        let backups: Vec<_> = backups
            .iter()
            .map(|(kind, hours, error)| {
                serde_json::json!({ "type": kind, "error": error, "timestamp": { "start": 0, "stop": NOW - hours * 3600 } })
            })
            .collect();
        serde_json::json!([{
            "name": "haven", "status": { "code": code, "message": "no valid backups" }, "backup": backups,
        }])
        .to_string()
    }

    fn violations(info: &str) -> Vec<String> {
        match outcome(info, NOW) {
            Outcome::Pass => Vec::new(),
            Outcome::Fail { objects } => objects,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_fresh_backup_passes_and_an_old_missing_or_damaged_one_does_not() {
        let fresh = info(0, &[("full", 100, false), ("incr", 24, false)]);
        assert_eq!(violations(&fresh), [""; 0]);
        let old = info(0, &[("full", 200, false), ("incr", 26, false)]);
        assert_eq!(
            violations(&old),
            [
                "stanza haven: the newest backup is 26 hours old",
                "stanza haven: the newest full backup is 200 hours old"
            ]
        );
        let damaged = info(0, &[("full", 100, false), ("incr", 1, true)]);
        assert_eq!(
            violations(&damaged),
            ["stanza haven: the newest backup is 100 hours old"]
        );
        assert_eq!(violations(&info(2, &[])), ["stanza haven: no valid backups"]);
        assert_eq!(violations("[]"), ["there is no stanza"]);
        assert!(violations("{").concat().contains("not the output"));
    }
}
