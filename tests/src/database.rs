//! One database in a cluster, and how each login reaches it.

use std::{os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::{certificates::Certificates, secrets::Secrets};

/// A database, as its clients see it: over TLS, on loopback, with a password.
#[derive(Clone)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// The port of its server, or of a [`Proxy`](crate::proxy::Proxy) in front of it.
    pub port: u16,
    /// The certificate authority of its server, PEM.
    pub authority: PathBuf,
    pub(crate) secrets: Arc<Secrets>,
}

impl Database {
    /// The database called `name` on the server that listens on `port`, whether it is there or not.
    pub fn new(name: &str, port: u16, certificates: &Certificates, secrets: Arc<Secrets>) -> Self {
        Self {
            name: name.to_owned(),
            port,
            authority: certificates.authority(),
            secrets,
        }
    }

    /// How `login` connects.
    pub fn options(&self, login: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .database(&self.name)
            .username(login)
            .password(self.secrets.password(login))
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert(&self.authority)
            .application_name("haven-testkit")
    }

    /// The same as a URL, password included.
    pub fn url(&self, login: &str) -> String {
        // sqlx's own `to_url_lossy` writes the file as something that it does not read back.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let authority: String = (self.authority.as_os_str().as_bytes().iter())
            .map(|&byte| {
                if plain(byte) {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect();
        format!(
            "postgres://{login}:{}@127.0.0.1:{}/{}?sslmode=verify-full&sslrootcert={authority}",
            self.secrets.password(login),
            self.port,
            self.name,
        )
    }

    /// What `psql` and other programs on libpq read from their environment to connect as `login`.
    pub fn libpq(&self, login: &str) -> Vec<(&'static str, String)> {
        vec![
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGDATABASE", self.name.clone()),
            ("PGUSER", login.to_owned()),
            ("PGPASSWORD", self.secrets.password(login).to_owned()),
            ("PGSSLMODE", "verify-full".to_owned()),
            ("PGSSLROOTCERT", self.authority.display().to_string()),
        ]
    }

    /// Connects as `login`.
    pub async fn connect(&self, login: &str) -> Result<PgConnection> {
        let connection = PgConnection::connect_with(&self.options(login)).await;
        connection.with_context(|| format!("connecting to the database {} as {login}", self.name))
    }

    /// Runs plain SQL, many statements if need be, as `login`.
    pub async fn run(&self, login: &str, sql: &str) -> Result<()> {
        let mut connection = self.connect(login).await?;
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut connection)
            .await;
        done.with_context(|| format!("as {login} in the database {}", self.name))?;
        Ok(connection.close().await?)
    }
}
