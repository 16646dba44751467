//! The check of the server's version, which the inspection before serving shares.

use super::{super::WorkerConfig, Environments, Finding};

/// The minor version of each major that was current when this was written (November 2026: 15.20 and its sister releases).
/// Several older ones have vulnerabilities in Row Level Security, such as CVE-2025-8713. Majors that are not listed are
/// newer.
const PATCHED_MINORS: [(i64, i64); 4] = [(15, 20), (16, 16), (17, 12), (18, 6)];

/// The query for the version as a number.
pub(super) const QUERY: &str = "SELECT current_setting('server_version_num')::int8";

/// A fault of a server's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::database) enum Outdated {
    /// The major version is older than all that Haven runs on.
    Unsupported,
    /// The minor version lacks security fixes.
    Unpatched,
}

/// Returns the fault of a server's version, if it has one, with a description. Since Postgres 10, `server_version_num` is
/// the major version times 10,000 plus the minor.
pub(in crate::database) fn outdated(version: i64) -> Option<(Outdated, String)> {
    let (major, minor) = (version / 10_000, version % 10_000);
    if major < PATCHED_MINORS[0].0 {
        let text = format!("Postgres {major} is too old: version 15 or newer is required");
        return Some((Outdated::Unsupported, text));
    }
    let (_, oldest) = PATCHED_MINORS.iter().find(|(known, _)| *known == major)?;
    (minor < *oldest).then(|| {
        let text =
            format!("Postgres {major}.{minor} lacks security fixes: upgrade to {major}.{oldest} or newer");
        (Outdated::Unpatched, text)
    })
}

/// Returns the finding about the server's version.
pub(super) fn finding(config: &WorkerConfig, version: i64) -> Finding {
    let (fails_in, objects) = match outdated(version) {
        None => (Environments::Every, Vec::new()),
        Some((Outdated::Unsupported, text)) => (Environments::Every, vec![text]),
        Some((Outdated::Unpatched, text)) => (Environments::Production, vec![text]),
    };
    Finding {
        service: config.schema,
        check: "minor-version",
        title: "the server has all security fixes of its major version",
        outcome: fails_in.judge(config.environment, objects),
        meaning: "Several older minor versions have vulnerabilities in Row Level Security.",
        remedy: "upgrade to the newest minor version; the data stays as it is".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Outcome, *};
    use crate::{database::Pooler, environment::Environment};

    #[test]
    fn outdated_servers_are_faults() {
        assert_eq!(outdated(140_022).unwrap().0, Outdated::Unsupported);
        assert_eq!(outdated(150_001).unwrap().0, Outdated::Unpatched);
        assert_eq!(outdated(150_020), None);
        assert_eq!(outdated(210_000), None);
    }

    #[test]
    fn an_unpatched_server_fails_in_production_and_is_a_warning_in_development() {
        let outcome = |environment, version| {
            let config = WorkerConfig {
                schema: "data",
                url: "postgres://".into(),
                pooler: Pooler::Session,
                environment,
            };
            finding(&config, version).outcome
        };
        let objects = vec!["Postgres 15.19 lacks security fixes: upgrade to 15.20 or newer".to_owned()];
        assert_eq!(
            outcome(Environment::Development, 150_019),
            Outcome::Warning {
                objects: objects.clone()
            }
        );
        assert_eq!(
            outcome(Environment::Production, 150_019),
            Outcome::Fail { objects }
        );
        assert_eq!(outcome(Environment::Production, 150_020), Outcome::Pass);
        assert!(matches!(
            outcome(Environment::Development, 140_000),
            Outcome::Fail { .. }
        ));
    }
}
