//! The secrets and certificates of an installation as files, one each, as containers mount them.
//!
//! `deploy/compose` mounts these files at [`MOUNT`], and its services read them through variables such as
//! `DATABASE_URL_FILE`. They are for development and for trying an installation: in production an operator puts files of
//! the same names in their place.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};

use crate::{
    certificates::{Certificates, keep_signing_key},
    secrets::{LOGINS, SUPERUSER, Secrets, write_private},
};

/// The directory in which containers see the files.
pub const MOUNT: &str = "/run/secrets";

/// Files that no container reads: the key of the authority, and what `cargo dev` stores.
const OWN_FILES: [&str; 4] = ["ca.key", "secrets.json", "people.json", "people.lock"];

/// The `host:port` of the servers, as containers reach them.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Postgres itself, for migrations.
    pub postgres: String,
    /// What the services connect to: a pooler in front of Postgres, or Postgres itself.
    pub pooler: String,
    /// The name of the database.
    pub database: String,
}

/// A directory with the secrets and certificates of an installation.
pub struct SecretFiles {
    /// The certificates.
    pub certificates: Certificates,
    /// The secrets.
    pub secrets: Arc<Secrets>,
    directory: PathBuf,
}

impl Addresses {
    /// Returns the addresses of deploy/compose.
    pub fn of_compose() -> Self {
        Self {
            postgres: "postgres:5432".to_owned(),
            pooler: "pgbouncer:6432".to_owned(),
            database: "haven".to_owned(),
        }
    }
}

impl SecretFiles {
    /// Opens `directory`, and creates the files that are missing. Those that exist stay what they are.
    pub fn keep(directory: &Path, addresses: &Addresses) -> Result<Self> {
        fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
        // Containers run as other users, and see the files with the modes that they have here. Each can read the files
        // that are mounted into it; on this machine the directory keeps others away.
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        let secrets = Arc::new(Secrets::keep(directory)?);
        let files = Self {
            certificates: Certificates::keep(directory)?,
            secrets,
            directory: directory.to_owned(),
        };
        keep_signing_key(&files.path("signing-key.pem"))?;
        // Of Grafana's administrator. Haven has no use for it.
        if !files.path("grafana-password").exists() {
            let password = format!("{:032x}", rand::random::<u128>());
            write_private(&files.path("grafana-password"), password.as_bytes())?;
        }
        for (name, content) in files.contents(addresses) {
            let path = files.path(&name);
            if !path.exists() {
                write_private(&path, content.as_bytes())?;
            }
        }
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            // These are for this machine alone.
            if !OWN_FILES.iter().any(|name| path.ends_with(name)) {
                fs::set_permissions(path, fs::Permissions::from_mode(0o444))?;
            }
        }
        Ok(files)
    }

    /// Returns the path of the file `name`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Returns the name and the content of each file that is made of the secrets.
    fn contents(&self, addresses: &Addresses) -> Vec<(String, String)> {
        let secrets = &self.secrets;
        let Addresses {
            postgres,
            pooler,
            database,
        } = addresses;
        let url = |login: &str, server: &str| {
            let password = secrets.password(login);
            format!(
                "postgres://{login}:{password}@{server}/{database}?sslmode=verify-full&sslrootcert={MOUNT}/ca.pem"
            )
        };
        let mut files = vec![
            (
                "identity-secret-key".to_owned(),
                secrets.identity_secret_key.clone(),
            ),
            ("data-secret-key".to_owned(), secrets.data_secret_key.clone()),
            ("peppers".to_owned(), secrets.peppers.clone()),
            ("message-keys".to_owned(), secrets.message_keys.clone()),
        ];
        // Past the pooler, which LISTEN does not pass.
        files.push((
            "data-listen-database-url".to_owned(),
            url("data_worker", postgres),
        ));
        let mut users = String::new();
        for service in ["identity", "data"] {
            for (login, variable, server) in [
                ("owner", "migration-database-url", postgres),
                ("app", "database-url", pooler),
                ("worker", "worker-database-url", pooler),
            ] {
                let login = format!("{service}_{login}");
                files.push((format!("{service}-{variable}"), url(&login, server)));
                if server == pooler {
                    users += &format!("\"{login}\" \"{}\"\n", secrets.password(&login));
                }
            }
        }
        files.push(("pgbouncer-users".to_owned(), users));
        files.push((
            "postgres-password".to_owned(),
            secrets.password(SUPERUSER).to_owned(),
        ));
        let logins = LOGINS.map(|login| format!("{login} {}\n", secrets.password(login)));
        files.push(("logins".to_owned(), logins.concat()));
        files
    }
}
