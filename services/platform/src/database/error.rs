//! What can go wrong in the database, with nothing in it that a row holds.

use std::fmt;

use sqlx::Error;

use crate::{failure::Failure, reason::Reason};

/// A database error, as far as it may be known outside of the store.
///
/// Postgres puts values into its messages ("Key (email)=(…) already exists"), so no message is kept: only the
/// SQLSTATE, and the names of the constraint and the table. What the network and TLS say is kept: it knows no rows.
#[derive(Debug, thiserror::Error)]
pub struct DbError {
    kind: ErrorKind,
    details: Details,
}

#[derive(Debug, Default)]
struct Details {
    detail: Option<String>,
    sqlstate: Option<String>,
    constraint: Option<String>,
    table: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorKind {
    /// The connection broke, or the server is starting or stopping.
    Unavailable,
    /// No connection was to be had in time: the server cannot be reached, or every connection is in use.
    NoConnection,
    /// The statement or the wait for a connection took longer than the call has.
    Deadline,
    /// A row breaks a constraint.
    Constraint,
    /// Row Level Security, or a missing grant, refused it.
    Refused,
    /// A defect.
    Other(&'static str),
}

impl DbError {
    /// The wait for a connection, or for an answer, was longer than the call has.
    pub(crate) fn deadline() -> Self {
        Self::of(ErrorKind::Deadline)
    }

    /// A row that has to be there is not, or is not what it has to be.
    #[must_use]
    pub fn unexpected(what: &'static str) -> Self {
        Self::of(ErrorKind::Other(what))
    }

    /// The constraint that a row breaks.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        self.details.constraint.as_deref()
    }

    /// No connection was to be had in time.
    pub(super) fn no_connection() -> Self {
        Self::of(ErrorKind::NoConnection)
    }

    /// The same, while connecting: there was no connection to begin with.
    pub(super) fn without_connection(self) -> Self {
        Self {
            kind: ErrorKind::NoConnection,
            ..self
        }
    }

    fn of(kind: ErrorKind) -> Self {
        Self {
            kind,
            details: Details::default(),
        }
    }

    /// Whether the connection, rather than the statement, is what failed: another one may work.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ErrorKind::Unavailable => f.write_str("database unavailable")?,
            ErrorKind::NoConnection => {
                f.write_str(
                    "no connection to the database in time: it cannot be reached, or all are in use",
                )?;
            }
            ErrorKind::Deadline => f.write_str("database slower than the call's deadline")?,
            ErrorKind::Constraint => f.write_str("constraint violated")?,
            ErrorKind::Refused => f.write_str("refused by the database's permissions")?,
            ErrorKind::Other(what) => write!(f, "database error ({what})")?,
        }
        let details = [
            ("detail", &self.details.detail),
            ("sqlstate", &self.details.sqlstate),
            ("constraint", &self.details.constraint),
            ("table", &self.details.table),
        ];
        for (name, value) in details {
            if let Some(value) = value {
                write!(f, " {name}={value}")?;
            }
        }
        Ok(())
    }
}

impl From<Error> for DbError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Database(error) => {
                let details = Details {
                    detail: None,
                    sqlstate: error.code().map(Into::into),
                    constraint: error.constraint().map(Into::into),
                    table: error.table().map(Into::into),
                };
                return Self {
                    kind: kind_of_sqlstate(error.code().as_deref().unwrap_or_default()),
                    details,
                };
            }
            // A server that is killed in the middle of an answer leaves half of it behind.
            Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed => {
                ErrorKind::Unavailable
            }
            Error::BeginFailed => ErrorKind::Other("transaction did not begin"),
            Error::RowNotFound => ErrorKind::Other("row not found"),
            Error::ColumnDecode { .. } | Error::Decode(_) => {
                ErrorKind::Other("a column has an unexpected value")
            }
            Error::Encode(_) | Error::InvalidArgument(_) => ErrorKind::Other("an argument cannot be encoded"),
            Error::ColumnNotFound(_) | Error::ColumnIndexOutOfBounds { .. } | Error::TypeNotFound { .. } => {
                ErrorKind::Other("the schema is not the one that this program was built for")
            }
            _ => ErrorKind::Other("unexpected"),
        };
        let detail = match &error {
            Error::Io(error) => Some(error.to_string()),
            Error::Tls(error) => Some(error.to_string()),
            _ => None,
        };
        Self {
            kind,
            details: Details {
                detail,
                ..Details::default()
            },
        }
    }
}

/// PostgreSQL documentation, appendix A: error codes.
fn kind_of_sqlstate(code: &str) -> ErrorKind {
    match code {
        // A statement, or its wait for a lock, was cancelled.
        "57014" | "55P03" => ErrorKind::Deadline,
        // Serialization failure and deadlock: the same again, from the beginning, works.
        "57P01" | "57P02" | "57P03" | "25006" | "40001" | "40P01" => ErrorKind::Unavailable,
        "53300" => ErrorKind::NoConnection,
        "42501" => ErrorKind::Refused,
        _ if code.starts_with("08") => ErrorKind::Unavailable,
        // The login was refused.
        _ if code.starts_with("28") => ErrorKind::NoConnection,
        _ if code.starts_with("23") => ErrorKind::Constraint,
        _ => ErrorKind::Other("statement failed"),
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        let reason = match error.kind {
            ErrorKind::Unavailable | ErrorKind::NoConnection => Reason::DependencyUnavailable,
            ErrorKind::Deadline => Reason::Deadline,
            ErrorKind::Constraint | ErrorKind::Refused | ErrorKind::Other(_) => Reason::Internal,
        };
        Self::new(reason).because(error)
    }
}
