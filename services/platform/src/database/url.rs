//! The URL of a login, which can change while the service runs.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};

use super::error::DbError;

/// The `postgres://` URL of a login: a value, or a file that is read again for every new connection, so that a password
/// can be replaced without a restart.
#[derive(Clone, Debug)]
pub struct DatabaseUrl {
    url: SecretString,
    file: Option<PathBuf>,
}

/// The reason why the new contents of a file are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Unusable {
    #[error("it cannot be read")]
    Unreadable,
    #[error("it is not a postgres:// URL")]
    Malformed,
    #[error(
        "it changes more than the password, which needs a restart: the service inspects a database when it starts"
    )]
    MoreThanPassword,
}

/// The current options of a login's connections.
pub(super) struct CurrentOptions {
    file: Option<PathBuf>,
    current: Mutex<Current>,
}

struct Current {
    url: SecretString,
    options: PgConnectOptions,
    /// Why the file is not used, so that it is logged once.
    unusable: Option<Unusable>,
}

impl DatabaseUrl {
    /// Creates a URL that was read from `file`, if there is one.
    #[must_use]
    pub fn new(url: SecretString, file: Option<PathBuf>) -> Self {
        Self { url, file }
    }
}

impl From<&str> for DatabaseUrl {
    fn from(url: &str) -> Self {
        Self::new(url.into(), None)
    }
}

impl From<String> for DatabaseUrl {
    fn from(url: String) -> Self {
        Self::new(url.into(), None)
    }
}

impl From<&SecretString> for DatabaseUrl {
    fn from(url: &SecretString) -> Self {
        Self::new(url.clone(), None)
    }
}

impl CurrentOptions {
    pub(super) fn new(url: &DatabaseUrl) -> Result<Self, DbError> {
        let current = Current {
            options: connect_options(&url.url)?,
            url: url.url.clone(),
            unusable: None,
        };
        Ok(Self {
            file: url.file.clone(),
            current: Mutex::new(current),
        })
    }

    /// Returns the options for a new connection. Reads the file, and keeps the last usable contents when it has others.
    pub(super) async fn get(&self) -> PgConnectOptions {
        let read = match &self.file {
            Some(file) => Some(read(file).await),
            None => None,
        };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = read {
            current.update(read);
        }
        current.options.clone()
    }

    /// Returns whether every connection uses TLS, or fails. The server cannot tell: it sees the connections of the pooler.
    pub(super) fn require_tls(&self) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        requires_tls(&current.options)
    }
}

impl Current {
    /// Takes over the contents of the file, if they can be used. Logs a change, and the beginning of each problem.
    fn update(&mut self, read: Result<SecretString, Unusable>) {
        let checked = read.and_then(|url| {
            let unchanged = url.expose_secret() == self.url.expose_secret();
            let options = if unchanged { None } else { Some(self.check(&url)?) };
            Ok((url, options))
        });
        match checked {
            Ok((url, Some(options))) => {
                tracing::info!(login = options.get_username(), "the database URL was replaced");
                (self.url, self.options) = (url, options);
                self.unusable = None;
            }
            Ok((_, None)) => self.unusable = None,
            Err(reason) if self.unusable.replace(reason) != Some(reason) => {
                let login = self.options.get_username();
                tracing::error!(login, %reason, "the file of the database URL is not used; the last URL stays in use");
            }
            Err(_) => {}
        }
    }

    /// Returns the options of `url`, if only the password differs. The inspection at the start was about the rest.
    fn check(&self, url: &SecretString) -> Result<PgConnectOptions, Unusable> {
        let options = connect_options(url).map_err(|_| Unusable::Malformed)?;
        match without_password(&options) == without_password(&self.options) {
            true => Ok(options),
            false => Err(Unusable::MoreThanPassword),
        }
    }
}

impl fmt::Debug for CurrentOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentOptions")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// Returns the options of connections to `url`, for a server or a pooler in front of it.
pub(super) fn connect_options(url: &SecretString) -> Result<PgConnectOptions, DbError> {
    let options: PgConnectOptions = url.expose_secret().parse()?;
    // A pooler refuses startup parameters that it does not know, such as `extra_float_digits`. Values are exchanged in
    // binary, which this parameter does not change. The request log has one line per call; statements are not logged.
    Ok(options.extra_float_digits(None).disable_statement_logging())
}

async fn read(file: &Path) -> Result<SecretString, Unusable> {
    let text = tokio::fs::read_to_string(file)
        .await
        .map_err(|_| Unusable::Unreadable)?;
    Ok(text.trim_end().into())
}

/// Returns the URL of `options` with a fixed password.
fn without_password(options: &PgConnectOptions) -> String {
    options.clone().password("").to_url_lossy().to_string()
}

fn requires_tls(options: &PgConnectOptions) -> bool {
    use PgSslMode::{Require, VerifyCa, VerifyFull};
    matches!(options.get_ssl_mode(), Require | VerifyCa | VerifyFull)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(url: &str) -> Current {
        Current {
            options: connect_options(&url.into()).unwrap(),
            url: url.into(),
            unusable: None,
        }
    }

    #[test]
    fn only_the_password_can_change() {
        let url = "postgres://data_app:old@db/haven?sslmode=verify-full";
        for (new, reason) in [
            ("data_app", Some(Unusable::Malformed)),
            (
                "postgres://data_worker:new@db/haven?sslmode=verify-full",
                Some(Unusable::MoreThanPassword),
            ),
            (
                "postgres://data_app:new@db/haven?sslmode=require",
                Some(Unusable::MoreThanPassword),
            ),
            (
                "postgres://data_app:new@other/haven?sslmode=verify-full",
                Some(Unusable::MoreThanPassword),
            ),
            (
                "postgres://data_app:new@db/other?sslmode=verify-full",
                Some(Unusable::MoreThanPassword),
            ),
            ("postgres://data_app:new@db/haven?sslmode=verify-full", None),
        ] {
            let mut current = current(url);
            current.update(Ok(new.into()));
            assert_eq!(current.unusable, reason, "{new}");
            let expected = if reason.is_some() { url } else { new };
            assert_eq!(current.url.expose_secret(), expected);
        }
    }

    #[test]
    fn a_file_that_disappears_leaves_the_last_url() {
        let mut current = current("postgres://data_app:old@db/haven");
        current.update(Err(Unusable::Unreadable));
        assert_eq!(current.unusable, Some(Unusable::Unreadable));
        current.update(Ok("postgres://data_app:old@db/haven".into()));
        assert_eq!(current.unusable, None);
    }
}
