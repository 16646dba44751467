//! What can go wrong in the database, with nothing in it that a row holds.

use std::fmt;

use sqlx::Error;

use crate::{failure::Failure, reason::Reason};

/// A database error, as far as it may be known outside of the store.
///
/// Postgres puts values into its messages ("Key (email)=(…) already exists"), so no message is kept: only the
/// SQLSTATE, and the names of the constraint and the table.
#[derive(Debug, thiserror::Error)]
pub struct DbError {
    kind: Kind,
    sqlstate: Option<String>,
    constraint: Option<String>,
    table: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The server cannot be reached, is starting or stopping, or has no connection left.
    Unavailable,
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
        Self {
            kind: Kind::Deadline,
            sqlstate: None,
            constraint: None,
            table: None,
        }
    }

    /// A row that has to be there is not, or is not what it has to be.
    #[must_use]
    pub fn unexpected(what: &'static str) -> Self {
        Self {
            kind: Kind::Other(what),
            sqlstate: None,
            constraint: None,
            table: None,
        }
    }

    /// The constraint that a row breaks.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        self.constraint.as_deref()
    }

    /// Whether the connection, rather than the statement, is what failed: another one may work.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.kind == Kind::Unavailable
    }
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Unavailable => f.write_str("database unavailable")?,
            Kind::Deadline => f.write_str("database slower than the call's deadline")?,
            Kind::Constraint => f.write_str("constraint violated")?,
            Kind::Refused => f.write_str("refused by the database's permissions")?,
            Kind::Other(what) => write!(f, "database error ({what})")?,
        }
        let facts = [
            ("sqlstate", &self.sqlstate),
            ("constraint", &self.constraint),
            ("table", &self.table),
        ];
        for (name, value) in facts {
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
                return Self {
                    kind: kind_of_sqlstate(error.code().as_deref().unwrap_or_default()),
                    sqlstate: error.code().map(Into::into),
                    constraint: error.constraint().map(Into::into),
                    table: error.table().map(Into::into),
                };
            }
            Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed => {
                Kind::Unavailable
            }
            // A server that is killed in the middle of an answer leaves half of it behind.
            Error::Protocol(_) => Kind::Unavailable,
            Error::BeginFailed => Kind::Other("transaction did not begin"),
            Error::RowNotFound => Kind::Other("row not found"),
            Error::ColumnDecode { .. } | Error::Decode(_) => Kind::Other("a column has an unexpected value"),
            Error::Encode(_) | Error::InvalidArgument(_) => Kind::Other("an argument cannot be encoded"),
            Error::ColumnNotFound(_) | Error::ColumnIndexOutOfBounds { .. } | Error::TypeNotFound { .. } => {
                Kind::Other("the schema is not the one that this program was built for")
            }
            _ => Kind::Other("unexpected"),
        };
        Self {
            kind,
            sqlstate: None,
            constraint: None,
            table: None,
        }
    }
}

/// PostgreSQL documentation, appendix A: error codes.
fn kind_of_sqlstate(code: &str) -> Kind {
    match code {
        "57014" => Kind::Deadline,
        "57P01" | "57P02" | "57P03" | "53300" | "25006" => Kind::Unavailable,
        "42501" => Kind::Refused,
        _ if code.starts_with("08") || code.starts_with("28") => Kind::Unavailable,
        _ if code.starts_with("23") => Kind::Constraint,
        _ => Kind::Other("statement failed"),
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        let reason = match error.kind {
            Kind::Unavailable => Reason::DependencyUnavailable,
            Kind::Deadline => Reason::Deadline,
            Kind::Constraint | Kind::Refused | Kind::Other(_) => Reason::Internal,
        };
        Self::new(reason).because(error)
    }
}
