//! The secrets of a development or test installation: made once, at random, and kept in a file that only its owner
//! can read. They have no `Debug`.

use std::{collections::BTreeMap, fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context, Result};
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE, Engine};
use serde::{Deserialize, Serialize};

/// The logins of Haven, beside the superuser `postgres`.
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

/// The cluster's superuser.
pub const SUPERUSER: &str = "postgres";

/// Who makes the roles and owns the databases: CREATEROLE and CREATEDB, and no superuser.
pub const ADMIN: &str = "haven_admin";

/// Every secret of one installation.
#[derive(Serialize, Deserialize)]
pub struct Secrets {
    /// Passwords by login, the superuser's among them.
    passwords: BTreeMap<String, String>,
    /// identity's `SECRET_KEY`.
    pub identity_secret_key: String,
    /// data's `SECRET_KEY`.
    pub data_secret_key: String,
    /// identity's `PEPPERS`.
    pub peppers: String,
    /// data's `MESSAGE_KEYS`.
    pub message_keys: String,
}

impl Secrets {
    /// Reads the secrets that `directory` keeps, or makes them.
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
        // Hexadecimal, so that they stand in a URL and in SQL as they are.
        let password = || format!("{:032x}", rand::random::<u128>());
        Self {
            passwords: LOGINS
                .iter()
                .chain([&SUPERUSER])
                .map(|login| (login.to_string(), password()))
                .collect(),
            identity_secret_key: key(),
            data_secret_key: key(),
            peppers: format!("dev-1:{}", key()),
            message_keys: format!("dev-1:{}", BASE64_URL_SAFE.encode(rand::random::<[u8; 32]>())),
        }
    }

    /// The password of a login.
    ///
    /// # Panics
    ///
    /// When Haven has no such login.
    pub fn password(&self, login: &str) -> &str {
        self.passwords
            .get(login)
            .unwrap_or_else(|| panic!("{login} is not among the logins"))
    }
}

/// Writes a file that only its owner can read, whole or not at all.
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
