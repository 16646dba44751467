//! The outcome of a verification of the audit log, as metrics for Prometheus.

use std::{fs, io, path::Path};

use chrono::{DateTime, Utc};

/// The number of chains that a verification read, and of those that are broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) chains: u64,
    pub(crate) broken: u64,
}

impl Summary {
    /// Replaces the file at `path` with the metrics of a verification that ended at `now`. A reader never sees a part of
    /// the file.
    ///
    /// # Errors
    ///
    /// When the file, or `path` with the extension `draft`, cannot be written.
    pub(crate) fn write_metrics(self, path: &Path, now: DateTime<Utc>) -> io::Result<()> {
        // The collector reads files with the extension `prom` only.
        let draft = path.with_extension("draft");
        fs::write(&draft, self.metrics(now))?;
        fs::rename(draft, path)
    }

    fn metrics(self, now: DateTime<Utc>) -> String {
        let Self { chains, broken } = self;
        let now = now.timestamp();
        format!(
            "# HELP haven_audit_chains Chains of the security audit log that the last verification read.\n\
             # TYPE haven_audit_chains gauge\n\
             haven_audit_chains {chains}\n\
             # HELP haven_audit_chains_broken Chains that the last verification found broken.\n\
             # TYPE haven_audit_chains_broken gauge\n\
             haven_audit_chains_broken {broken}\n\
             # HELP haven_audit_verified_timestamp_seconds The time of the last verification that reached the end.\n\
             # TYPE haven_audit_verified_timestamp_seconds gauge\n\
             haven_audit_verified_timestamp_seconds {now}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_are_the_numbers_and_the_time() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let text = Summary {
            chains: 10,
            broken: 2,
        }
        .metrics(now);
        let values: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            values,
            [
                "haven_audit_chains 10",
                "haven_audit_chains_broken 2",
                "haven_audit_verified_timestamp_seconds 1800000000"
            ]
        );
    }
}
