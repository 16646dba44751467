//! Database errors without row contents.

use std::fmt;

use sqlx::Error;

use crate::{failure::Failure, reason::Reason};

/// An error of the database, in the form that may leave the store.
///
/// Postgres puts values into its messages ("Key (email)=(…) already exists"), so only the SQLSTATE and the names of the
/// constraint and the table are kept. Messages of the network and of TLS are kept, because they contain no row.
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
    /// No connection was available in time: the server cannot be reached, or all connections are in use.
    NoConnection,
    /// The call's deadline passed during a statement or the wait for a connection.
    Deadline,
    /// A row violates a constraint.
    Constraint,
    /// Row Level Security or a missing grant denied the statement.
    Refused,
    /// A defect in this program or its schema.
    Other(&'static str),
}

impl DbError {
    /// Creates the error of a wait for a connection or a result that exceeded the call's deadline.
    pub(crate) fn deadline() -> Self {
        Self::of(ErrorKind::Deadline)
    }

    /// Creates the error of a row that is missing or has unexpected contents, which is a defect. `what` describes it in
    /// the log.
    #[must_use]
    pub fn unexpected(what: &'static str) -> Self {
        Self::of(ErrorKind::Other(what))
    }

    /// Returns the name of the violated constraint; `None` for other errors.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        self.details.constraint.as_deref()
    }

    /// Creates the error of a wait in which no connection became available.
    pub(super) fn no_connection() -> Self {
        Self::of(ErrorKind::NoConnection)
    }

    /// Converts an error of connecting into the kind for a missing connection.
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

    /// Returns whether the connection failed, rather than the statement. A retry on another connection may succeed.
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
                    "no database connection in time: the server cannot be reached, or all connections are in use",
                )?;
            }
            ErrorKind::Deadline => f.write_str("the call's deadline passed before the database answered")?,
            ErrorKind::Constraint => f.write_str("constraint violated")?,
            ErrorKind::Refused => f.write_str("denied by the database's permissions")?,
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
            // A server that is killed while it answers leaves an incomplete message.
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

/// Maps a SQLSTATE to its kind (PostgreSQL documentation, appendix A: error codes).
fn kind_of_sqlstate(code: &str) -> ErrorKind {
    match code {
        // The statement, or its wait for a lock, was cancelled.
        "57014" | "55P03" => ErrorKind::Deadline,
        // Includes serialization failures and deadlocks: a retry of the whole transaction works.
        "57P01" | "57P02" | "57P03" | "25006" | "40001" | "40P01" => ErrorKind::Unavailable,
        // The server ended a session that was idle for too long, in a transaction or outside of one.
        "57P05" | "25P03" => ErrorKind::Unavailable,
        "53300" => ErrorKind::NoConnection,
        "42501" => ErrorKind::Refused,
        _ if code.starts_with("08") => ErrorKind::Unavailable,
        // The login was denied.
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
