//! A database of a cluster, and the connection parameters of each login.

use std::{os::unix::ffi::OsStrExt, path::PathBuf, sync::Arc};

use anyhow::{Context, Result};
use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};

use crate::{
    certificates::Certificates,
    secrets::{SUPERUSER, Secrets},
};

/// A database, which clients connect to over TLS, on loopback, with a password.
#[derive(Clone)]
pub struct Database {
    /// The name of the database.
    pub name: String,
    /// The port of its server, or of a [`Proxy`](crate::proxy::Proxy) in front of it.
    pub port: u16,
    /// The path of the certificate authority of its server, in PEM.
    pub authority: PathBuf,
    pub(crate) secrets: Arc<Secrets>,
}

impl Database {
    /// Returns the database `name` on the server that listens on `port`. It does not have to exist.
    pub fn new(name: &str, port: u16, certificates: &Certificates, secrets: Arc<Secrets>) -> Self {
        Self {
            name: name.to_owned(),
            port,
            authority: certificates.authority(),
            secrets,
        }
    }

    /// Returns the connection options of `login`.
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

    /// Returns the connection options of `login` as a URL, including the password.
    pub fn url(&self, login: &str) -> String {
        // `to_url_lossy` of sqlx writes the path of the file in a form that sqlx does not parse.
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let authority: String = (self.authority.as_os_str().as_bytes().iter())
            .map(|&byte| {
                if unreserved(byte) {
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

    /// Returns the environment variables with which `psql` and other libpq programs connect as `login`.
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

    /// Opens a connection as `login`.
    pub async fn connect(&self, login: &str) -> Result<PgConnection> {
        let connection = PgConnection::connect_with(&self.options(login)).await;
        connection.with_context(|| format!("connecting to the database {} as {login}", self.name))
    }

    /// Runs one or more SQL statements as `login`.
    pub async fn run(&self, login: &str, sql: &str) -> Result<()> {
        let mut connection = self.connect(login).await?;
        let result = sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
            .execute(&mut connection)
            .await;
        result.with_context(|| format!("as {login} in the database {}", self.name))?;
        Ok(connection.close().await?)
    }

    /// Drops the database `name` of the same cluster, and ends its connections. The superuser does so, because a worker of
    /// autovacuum counts as a process of a superuser, which no other login may end.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        self.run(SUPERUSER, &format!("DROP DATABASE {name} WITH (FORCE)"))
            .await
    }
}
