//! The secrets of a development or test installation. They are generated once, and stored in a file that only its owner
//! can read. They do not implement `Debug`.

use std::{collections::BTreeMap, fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context, Result};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, Engine};
use serde::{Deserialize, Serialize};

/// The logins of Haven, without the superuser `postgres`.
pub const LOGINS: [&str; 10] = [
    ADMIN,
    "identity_owner",
    "identity_app",
    "identity_worker",
    "data_owner",
    "data_app",
    "data_worker",
    "haven_readonly",
    "haven_backup",
    "haven_monitor",
];

/// The superuser of the cluster.
pub const SUPERUSER: &str = "postgres";

/// The login that creates the roles and owns the databases. It has CREATEROLE and CREATEDB, and is not a superuser.
pub const ADMIN: &str = "haven_admin";

/// The secrets of one installation.
#[derive(Serialize, Deserialize)]
pub struct Secrets {
    /// The passwords by login, including the superuser.
    passwords: BTreeMap<String, String>,
    /// The `SECRET_KEY` of identity.
    pub identity_secret_key: String,
    /// The `SECRET_KEY` of data.
    pub data_secret_key: String,
    /// The `PEPPERS` of identity.
    pub peppers: String,
    /// The `MESSAGE_KEYS` of data.
    pub message_keys: String,
}

impl Secrets {
    /// Reads the secrets in `directory`, or generates them if there are none.
    pub fn keep(directory: &Path) -> Result<Self> {
        let path = directory.join("secrets.json");
        if let Ok(text) = fs::read(&path) {
            return serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()));
        }
        let secrets = Self::random();
        write_private(&path, &serde_json::to_vec_pretty(&secrets)?)?;
        Ok(secrets)
    }

    fn random() -> Self {
        let key = || BASE64_STANDARD.encode(rand::random::<[u8; 32]>());
        // Hexadecimal, so that URLs and SQL need no escaping.
        let password = || format!("{:032x}", rand::random::<u128>());
        Self {
            passwords: LOGINS
                .iter()
                .chain([&SUPERUSER])
                .map(|login| (login.to_string(), password()))
                .collect(),
            identity_secret_key: format!("k1:{}", key()),
            data_secret_key: format!("k1:{}", key()),
            peppers: format!("dev-1:{}", key()),
            message_keys: format!("dev-1:{}", BASE64_URL_SAFE.encode(rand::random::<[u8; 32]>())),
        }
    }

    /// Returns the password of a login.
    ///
    /// # Panics
    ///
    /// If Haven has no such login.
    pub fn password(&self, login: &str) -> &str {
        self.passwords
            .get(login)
            .unwrap_or_else(|| panic!("{login} is not a login of Haven"))
    }
}

/// Writes a file that only its owner can read, atomically.
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let draft = path.with_extension("draft");
    let _ = fs::remove_file(&draft);
    let mut file = fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(content)?;
    fs::rename(&draft, path).with_context(|| format!("writing {}", path.display()))
}
