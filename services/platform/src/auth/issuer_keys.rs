//! The keys of a trusted issuer, kept up to date with their file and their address.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jsonwebtoken::Algorithm;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    jwks::Published,
    key_address::KeyAddress,
    key_file::{Contents, KeyFile, KeyFileError},
    key_report::{KeyReport, LoadedKeys, Source},
    key_requests::KeyRequests,
    key_ring::KeyRing,
    token_problem::TokenProblem,
    verifying_key::VerifyingKey,
};
use crate::{deadline::Deadline, failure::Failure, reason::Reason};

/// The interval between two checks of the file.
const FILE_INTERVAL: Duration = Duration::from_secs(5);

/// The minimum time between two requests to the address that unknown key ids cause.
const REQUEST_INTERVAL: Duration = Duration::from_secs(10);

/// The limits of the time between two successful requests to the address: the issuer's `max-age` applies between them. The
/// longer one is the time for which a key that the issuer has withdrawn stays valid here.
const MIN_AGE: Duration = Duration::from_secs(5 * 60);
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// The time between two successful requests when the issuer states none.
const DEFAULT_AGE: Duration = Duration::from_secs(10 * 60);

/// The time until a failed request is repeated: the first one, doubled each time up to the second one.
const FIRST_BACKOFF: Duration = Duration::from_secs(5);
const MAX_BACKOFF: Duration = Duration::from_secs(5 * 60);

/// The keys of the issuer `name`, and where they come from: a file, an address, or an address with a file as the fallback.
///
/// `Debug` shows the name alone: the contents of the file can be a shared secret.
pub(super) struct IssuerKeys {
    name: String,
    file: Option<KeyFile>,
    address: Option<KeyAddress>,
    loaded: ArcSwap<LoadedKeys>,
    requests: KeyRequests,
    /// The contents of the file that were looked at last.
    contents: Mutex<Option<Contents>>,
    /// True while the keys are those of the address, and the last request to it succeeded.
    address_works: AtomicBool,
}

impl IssuerKeys {
    /// Reads the keys from `file`, if there is one. Those from `address` arrive when [`IssuerKeys::keep_fresh`] runs.
    ///
    /// # Errors
    ///
    /// [`KeyFileError`] when the file cannot be used.
    pub(super) fn load(
        name: &str,
        file: Option<KeyFile>,
        address: Option<KeyAddress>,
    ) -> Result<Self, KeyFileError> {
        let keys = Self {
            name: name.to_owned(),
            file,
            address,
            loaded: ArcSwap::default(),
            requests: KeyRequests::new(REQUEST_INTERVAL),
            contents: Mutex::new(None),
            address_works: AtomicBool::new(false),
        };
        keys.read_file()?;
        if keys.address.is_none() {
            keys.requests.close();
        }
        Ok(keys)
    }

    /// Returns the keys that may have signed a token for `algorithm` with the key id `id`. When there is none, requests new
    /// ones from the address and waits for them.
    ///
    /// # Errors
    ///
    /// TOKEN_INVALID with KEY_UNKNOWN or ALGORITHM; DEPENDENCY_UNAVAILABLE when no keys have arrived yet.
    pub(super) async fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        deadline: Deadline,
    ) -> Result<Vec<VerifyingKey>, Failure> {
        let find = || self.loaded.load().ring.candidates(id, algorithm);
        if matches!(find(), Err(TokenProblem::KeyUnknown)) {
            let is_empty = || self.loaded.load().ring.is_empty();
            self.requests.wait(deadline, is_empty, || find().is_ok()).await;
        }
        match find() {
            Err(TokenProblem::KeyUnknown) if self.loaded.load().ring.is_empty() => {
                Err(Failure::new(Reason::DependencyUnavailable))
            }
            found => Ok(found?),
        }
    }

    /// Returns whether this very key is one of those that may have signed a token for its algorithm with the key id `id` now.
    pub(super) fn holds(&self, id: Option<&str>, key: &VerifyingKey) -> bool {
        let candidates = self.loaded.load().ring.candidates(id, key.algorithm());
        candidates.is_ok_and(|keys| keys.iter().any(|found| found.is_same(key)))
    }

    /// Reads the file when it changes, and requests the keys from the address when they are due or a call needs an unknown
    /// one, until `stop` is cancelled. While that fails, the previous keys stay in use.
    pub(super) async fn keep_fresh(&self, stop: CancellationToken) {
        let mut report = KeyReport::new(&self.name);
        report.keys(&self.loaded.load());
        if self.file.is_some() {
            // It was read when the configuration was.
            report.outcome(Source::File, Ok(()));
        }
        stop.run_until_cancelled(self.refresh(&mut report)).await;
    }

    async fn refresh(&self, report: &mut KeyReport) {
        let (mut due, mut backoff) = (Instant::now(), FIRST_BACKOFF);
        loop {
            let of_file = tokio::select! {
                () = sleep_until(due), if self.address.is_some() => false,
                () = self.requests.next(), if self.address.is_some() => false,
                () = sleep(FILE_INTERVAL), if self.file.is_some() => true,
                else => return,
            };
            if of_file {
                report.outcome(Source::File, self.read_file().map_err(|error| error.to_string()));
            } else {
                let fetched = self.fetch().await;
                let wait = fetched.as_ref().copied().unwrap_or(backoff);
                backoff = match fetched {
                    Ok(_) => FIRST_BACKOFF,
                    Err(_) => (backoff * 2).min(MAX_BACKOFF),
                };
                due = Instant::now() + wait;
                report.outcome(Source::Address, fetched.map(drop));
            }
            report.keys(&self.loaded.load());
        }
    }

    /// Requests the keys from the address. Returns the time until they must be requested again.
    async fn fetch(&self) -> Result<Duration, String> {
        let Some(address) = &self.address else {
            return Ok(MAX_AGE);
        };
        let answer = address.fetch().await;
        self.address_works.store(answer.is_ok(), Ordering::Relaxed);
        let answer = answer.map_err(|error| error.to_string())?;
        self.replace(answer.published);
        Ok(answer.max_age.unwrap_or(DEFAULT_AGE).clamp(MIN_AGE, MAX_AGE))
    }

    /// Reads the file. When its contents are new, its keys replace the present ones, unless those come from an address
    /// that works.
    pub(super) fn read_file(&self) -> Result<(), KeyFileError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let contents = file.read()?;
        let mut before = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        if before.as_ref() == Some(&contents) {
            return Ok(());
        }
        let published = file.parse(&contents)?;
        *before = Some(contents);
        if !self.address_works.load(Ordering::Relaxed) {
            self.replace(published);
        }
        Ok(())
    }

    fn replace(&self, published: Published) {
        self.loaded.store(Arc::new(LoadedKeys {
            ring: KeyRing::new(published.keys),
            skipped: published.skipped,
        }));
        self.requests.answer();
    }
}

impl fmt::Debug for IssuerKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IssuerKeys").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "canary ".repeat(8)).unwrap();
        let keys = IssuerKeys::load("other", Some(KeyFile::Secret(path)), None).unwrap();
        assert_eq!(format!("{keys:?}"), r#"IssuerKeys("other")"#);
    }
}
