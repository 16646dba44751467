//! What operators learn about the keys of a trusted issuer: a log line when something changes, and metrics.

use super::{jwk::Unused, jwks::Skipped, key_ring::KeyRing};

/// The keys of an issuer that are in use.
#[derive(Debug, Default)]
pub(super) struct LoadedKeys {
    pub(super) ring: KeyRing,
    pub(super) skipped: Vec<Skipped>,
}

/// Where the keys of an issuer come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    File,
    Address,
}

impl Source {
    const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Address => "uri",
        }
    }
}

/// The reports on the keys of one issuer.
#[derive(Debug)]
pub(super) struct KeyReport {
    issuer: String,
    /// The keys that were left out when it was reported last.
    skipped: Vec<String>,
    /// The problem of each source that was reported last.
    problems: [Option<String>; 2],
}

impl KeyReport {
    /// Creates the reports on the keys of `issuer`.
    pub(super) fn new(issuer: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            skipped: Vec::new(),
            problems: [None, None],
        }
    }

    /// Reports the keys in use, and names those that are left out when they are others than before.
    pub(super) fn keys(&mut self, loaded: &LoadedKeys) {
        let unusable = |skipped: &&Skipped| matches!(skipped.reason, Unused::Unusable(_));
        let skipped: Vec<_> = loaded
            .skipped
            .iter()
            .filter(unusable)
            .map(ToString::to_string)
            .collect();
        self.gauge("haven_issuer_keys", loaded.ring.len());
        self.gauge("haven_issuer_keys_skipped", skipped.len());
        if skipped != self.skipped {
            for key in &skipped {
                tracing::warn!(
                    issuer = self.issuer,
                    key,
                    "a key of the issuer cannot be used and is left out"
                );
            }
            self.skipped = skipped;
        }
    }

    /// Reports whether the newest keys of `source` are in use. A problem is logged when it begins, and when it ends.
    pub(super) fn outcome(&mut self, source: Source, outcome: Result<(), String>) {
        let (issuer, source_name) = (&self.issuer, source.name());
        metrics::gauge!("haven_issuer_keys_stale", "issuer" => issuer.clone(), "source" => source_name)
            .set(f64::from(u8::from(outcome.is_err())));
        let before = &mut self.problems[source as usize];
        let problem = outcome.err();
        if problem != *before {
            match &problem {
                Some(error) => tracing::error!(
                    issuer,
                    source = source_name,
                    error,
                    "the issuer's newest keys cannot be used; the keys before them stay in use"
                ),
                None => tracing::info!(
                    issuer,
                    source = source_name,
                    "the issuer's newest keys are in use"
                ),
            }
            *before = problem;
        }
    }

    fn gauge(&self, name: &'static str, value: usize) {
        metrics::gauge!(name, "issuer" => self.issuer.clone()).set(value as f64);
    }
}
