//! The people that this installation's commands signed up: their passwords and sessions, in a file that only its owner can
//! read. `cargo dev call --as EMAIL` calls as them.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use haven_testkit::secrets::write_private;
use prost_reflect::prost_types::Timestamp;
use serde::{Deserialize, Serialize};

/// A token that expires sooner than this is replaced before it is used.
const MARGIN: Duration = Duration::from_secs(30);

/// A person. It does not implement `Debug`, which would print the password and the tokens.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct KnownPerson {
    /// The password, if a command has learned it.
    pub(crate) password: Option<String>,
    /// The session, if a command has signed in.
    pub(crate) session: Option<Session>,
}

/// A session of a person.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Session {
    /// The access token.
    pub(crate) access_token: String,
    /// The time at which the access token expires, in seconds since 1970.
    pub(crate) expires: i64,
    /// The newest refresh token.
    pub(crate) refresh_token: String,
}

/// The file.
pub(crate) struct People {
    path: PathBuf,
}

impl Session {
    /// Creates a session from the fields of an answer of SessionService.
    pub(crate) fn new(access_token: String, expire_time: Option<Timestamp>, refresh_token: String) -> Self {
        Self {
            access_token,
            expires: expire_time.map_or(0, |time| time.seconds),
            refresh_token,
        }
    }

    /// Returns `true` if the access token can be used.
    pub(crate) fn is_current(&self) -> bool {
        let now = SystemTime::now() + MARGIN;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(self.expires).is_ok_and(|expires| expires > now.as_secs())
    }
}

impl People {
    /// Opens the file of the installation with its secrets in `directory`. The file does not have to exist.
    pub(crate) fn open(directory: &Path) -> Self {
        Self {
            path: directory.join("people.json"),
        }
    }

    /// Returns what is known about the person with the address `email`.
    pub(crate) fn find(&self, email: &str) -> Result<KnownPerson> {
        Ok(self.read()?.remove(&key(email)).unwrap_or_default())
    }

    /// Returns the addresses of all known people.
    pub(crate) fn emails(&self) -> Result<Vec<String>> {
        Ok(self.read()?.into_keys().collect())
    }

    /// Stores the passwords of people.
    pub(crate) fn remember<'a>(&self, people: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<()> {
        self.change(|known| {
            for (email, password) in people {
                known.entry(key(email)).or_default().password = Some(password.to_owned());
            }
        })
    }

    /// Stores the session of a person, in place of an earlier one.
    pub(crate) fn sign_in(&self, email: &str, session: Option<Session>) -> Result<()> {
        self.change(|known| known.entry(key(email)).or_default().session = session)
    }

    /// Removes a person.
    pub(crate) fn forget(&self, email: &str) -> Result<()> {
        self.change(|known| drop(known.remove(&key(email))))
    }

    /// Changes the file. Other processes wait in the meantime.
    fn change(&self, edit: impl FnOnce(&mut BTreeMap<String, KnownPerson>)) -> Result<()> {
        let _lock = self.lock()?;
        let mut known = self.read()?;
        edit(&mut known);
        write_private(&self.path, &serde_json::to_vec_pretty(&known)?)
    }

    fn lock(&self) -> Result<File> {
        let path = self.path.with_extension("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        lock.lock()?;
        Ok(lock)
    }

    fn read(&self) -> Result<BTreeMap<String, KnownPerson>> {
        match fs::read(&self.path) {
            Ok(text) => {
                serde_json::from_slice(&text).with_context(|| format!("reading {}", self.path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(error).with_context(|| format!("reading {}", self.path.display())),
        }
    }
}

/// Returns the form in which an address is stored: Haven ignores upper and lower case, too.
fn key(email: &str) -> String {
    email.trim().to_lowercase()
}
