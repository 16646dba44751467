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
    kind: Kind,
    facts: Facts,
}

#[derive(Debug, Default)]
struct Facts {
    detail: Option<String>,
    sqlstate: Option<String>,
    constraint: Option<String>,
    table: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
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
        Self::of(Kind::Deadline)
    }

    /// A row that has to be there is not, or is not what it has to be.
    #[must_use]
    pub fn unexpected(what: &'static str) -> Self {
        Self::of(Kind::Other(what))
    }

    /// The constraint that a row breaks.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        self.facts.constraint.as_deref()
    }

    /// No connection was to be had in time.
    pub(super) fn no_connection() -> Self {
        Self::of(Kind::NoConnection)
    }

    /// The same, while connecting: there was no connection to begin with.
    pub(super) fn without_connection(self) -> Self {
        Self {
            kind: Kind::NoConnection,
            ..self
        }
    }

    fn of(kind: Kind) -> Self {
        Self {
            kind,
            facts: Facts::default(),
        }
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
            Kind::NoConnection => {
                f.write_str(
                    "no connection to the database in time: it cannot be reached, or all are in use",
                )?;
            }
            Kind::Deadline => f.write_str("database slower than the call's deadline")?,
            Kind::Constraint => f.write_str("constraint violated")?,
            Kind::Refused => f.write_str("refused by the database's permissions")?,
            Kind::Other(what) => write!(f, "database error ({what})")?,
        }
        let facts = [
            ("detail", &self.facts.detail),
            ("sqlstate", &self.facts.sqlstate),
            ("constraint", &self.facts.constraint),
            ("table", &self.facts.table),
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
                let facts = Facts {
                    detail: None,
                    sqlstate: error.code().map(Into::into),
                    constraint: error.constraint().map(Into::into),
                    table: error.table().map(Into::into),
                };
                return Self {
                    kind: kind_of_sqlstate(error.code().as_deref().unwrap_or_default()),
                    facts,
                };
            }
            // A server that is killed in the middle of an answer leaves half of it behind.
            Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed => Kind::Unavailable,
            Error::BeginFailed => Kind::Other("transaction did not begin"),
            Error::RowNotFound => Kind::Other("row not found"),
            Error::ColumnDecode { .. } | Error::Decode(_) => Kind::Other("a column has an unexpected value"),
            Error::Encode(_) | Error::InvalidArgument(_) => Kind::Other("an argument cannot be encoded"),
            Error::ColumnNotFound(_) | Error::ColumnIndexOutOfBounds { .. } | Error::TypeNotFound { .. } => {
                Kind::Other("the schema is not the one that this program was built for")
            }
            _ => Kind::Other("unexpected"),
        };
        let detail = match &error {
            Error::Io(error) => Some(error.to_string()),
            Error::Tls(error) => Some(error.to_string()),
            _ => None,
        };
        Self {
            kind,
            facts: Facts {
                detail,
                ..Facts::default()
            },
        }
    }
}

/// PostgreSQL documentation, appendix A: error codes.
fn kind_of_sqlstate(code: &str) -> Kind {
    match code {
        // A statement, or its wait for a lock, was cancelled.
        "57014" | "55P03" => Kind::Deadline,
        // Serialization failure and deadlock: the same again, from the beginning, works.
        "57P01" | "57P02" | "57P03" | "25006" | "40001" | "40P01" => Kind::Unavailable,
        "53300" => Kind::NoConnection,
        "42501" => Kind::Refused,
        _ if code.starts_with("08") => Kind::Unavailable,
        // The login was refused.
        _ if code.starts_with("28") => Kind::NoConnection,
        _ if code.starts_with("23") => Kind::Constraint,
        _ => Kind::Other("statement failed"),
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        let reason = match error.kind {
            Kind::Unavailable | Kind::NoConnection => Reason::DependencyUnavailable,
            Kind::Deadline => Reason::Deadline,
            Kind::Constraint | Kind::Refused | Kind::Other(_) => Reason::Internal,
        };
        Self::new(reason).because(error)
    }
}
