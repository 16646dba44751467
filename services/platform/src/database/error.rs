//! Database errors without row contents.

use std::{fmt, time::Duration};

use sqlx::{Error, error::DatabaseError, postgres::PgDatabaseError};

use crate::{
    failure::Failure,
    reason::{self, Reason},
};

/// An error of the database, in the form that may leave the store.
///
/// Postgres puts values into its messages ("Key (email)=(…) already exists"), so only the SQLSTATE and the names of the
/// constraint and the table are kept. Messages about the connection itself are kept, whether of the network, of TLS, of
/// Postgres or of a pooler, because they contain no row.
#[derive(Debug, thiserror::Error)]
pub struct DbError {
    kind: ErrorKind,
    /// On the heap, because a result with a large error is slow to pass on.
    details: Box<Details>,
}

#[derive(Debug, Default)]
struct Details {
    detail: Option<String>,
    sqlstate: Option<String>,
    constraint: Option<String>,
    table: Option<String>,
    exceeded: Option<Exceeded>,
}

/// The numbers of a limit that a statement exceeded. They are in the detail of the error, as two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exceeded(u64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorKind {
    /// The connection broke, or the server is starting or stopping.
    Unavailable,
    /// The server accepts no writes: it is a standby, or has become one.
    Standby,
    /// No connection was available in time: the server cannot be reached, or all connections are in use.
    NoConnection,
    /// The server, or the pooler in front of it, was reached and refused the connection.
    ConnectionRefused,
    /// The call's deadline passed during a statement or the wait for a connection.
    Deadline,
    /// The call's deadline passed before the commit was confirmed: it may have happened.
    Unconfirmed,
    /// A row violates a constraint.
    Constraint,
    /// Row Level Security or a missing grant denied the statement.
    Refused,
    /// The transaction's person is locked.
    Locked,
    /// The transaction's person would use more than a quota allows.
    Quota,
    /// The transaction's person makes too many mutations.
    Rate,
    /// A defect in this program or its schema.
    Other(&'static str),
}

impl DbError {
    /// Creates the error of a wait for a connection or a result that exceeded the call's deadline.
    #[must_use]
    pub fn deadline() -> Self {
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

    /// Returns whether the transaction's person is over a quota or a rate limit.
    #[must_use]
    pub fn is_over_limit(&self) -> bool {
        matches!(self.kind, ErrorKind::Quota | ErrorKind::Rate)
    }

    /// Creates the error of a commit without an answer.
    pub(super) fn unconfirmed() -> Self {
        Self::of(ErrorKind::Unconfirmed)
    }

    /// Creates the error of a server in recovery.
    pub(crate) fn standby() -> Self {
        Self::of(ErrorKind::Standby)
    }

    /// Creates the error of an idle connection on which the server does not answer.
    pub(super) fn frozen() -> Self {
        Self::of(ErrorKind::Unavailable)
    }

    /// Creates the error of a wait in which no connection became available.
    pub(super) fn no_connection() -> Self {
        Self::of(ErrorKind::NoConnection)
    }

    /// Creates the error of an attempt to connect.
    pub(super) fn connecting(error: Error) -> Self {
        let message = match &error {
            Error::Database(error) => Some(one_line(error.message())),
            _ => None,
        };
        let mut error = Self::from(error);
        error.kind = match message {
            Some(_) => ErrorKind::ConnectionRefused,
            None => ErrorKind::NoConnection,
        };
        error.details.detail = message.or(error.details.detail);
        error
    }

    fn of(kind: ErrorKind) -> Self {
        Self {
            kind,
            details: Box::default(),
        }
    }

    /// Returns whether a missing right denied the statement.
    pub(super) fn is_refused(&self) -> bool {
        self.kind == ErrorKind::Refused
    }

    /// Returns whether the connection failed, rather than the statement. A retry on another connection may succeed.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unavailable | ErrorKind::Standby)
    }

    /// Returns whether the server is a standby.
    pub(crate) fn is_standby(&self) -> bool {
        self.kind == ErrorKind::Standby
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
            ErrorKind::ConnectionRefused => {
                f.write_str("the database server or its pooler refused the connection")?;
            }
            ErrorKind::Standby => f.write_str("the database server is a standby, which accepts no writes")?,
            ErrorKind::Deadline => f.write_str("the call's deadline passed before the database answered")?,
            ErrorKind::Unconfirmed => {
                f.write_str(
                    "the call's deadline passed before the commit was confirmed: it may have happened",
                )?;
            }
            ErrorKind::Constraint => f.write_str("constraint violated")?,
            ErrorKind::Refused => f.write_str("denied by the database's permissions")?,
            ErrorKind::Locked => f.write_str("the person is locked")?,
            ErrorKind::Quota => f.write_str("a quota is used up")?,
            ErrorKind::Rate => f.write_str("too many mutations")?,
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
                let code = error.code().unwrap_or_default();
                let details = Details {
                    detail: is_about_connection(&code).then(|| one_line(error.message())),
                    sqlstate: error.code().map(Into::into),
                    constraint: error.constraint().map(Into::into),
                    table: error.table().map(Into::into),
                    exceeded: exceeded(error.as_ref(), &code),
                };
                return Self {
                    kind: kind_of_sqlstate(&code),
                    details: Box::new(details),
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
            details: Box::new(Details {
                detail,
                ..Details::default()
            }),
        }
    }
}

/// Maps a SQLSTATE to its kind (PostgreSQL documentation, appendix A: error codes). PgBouncer sends 08P01 for its own
/// errors, such as `query_wait_timeout`, and newer versions also use the codes of Postgres.
fn kind_of_sqlstate(code: &str) -> ErrorKind {
    match code {
        // The statement, or its wait for a lock, was cancelled.
        "57014" | "55P03" => ErrorKind::Deadline,
        // Serialization failures and deadlocks, and sessions that a time limit ended within a transaction: a retry of the
        // whole transaction works.
        "25P03" | "25P04" | "40001" | "40P01" => ErrorKind::Unavailable,
        // A write, or a lock, on a server in recovery.
        "25006" | "55000" => ErrorKind::Standby,
        "53300" => ErrorKind::NoConnection,
        "42501" => ErrorKind::Refused,
        PERSON_LOCKED => ErrorKind::Locked,
        QUOTA_EXCEEDED => ErrorKind::Quota,
        RATE_EXCEEDED => ErrorKind::Rate,
        SHARED_STATEMENT | LOST_STATEMENT => ErrorKind::Other(
            "a prepared statement belongs to another session: behind a pooler in transaction mode, set \
             DATABASE_POOLER=transaction",
        ),
        // The connection broke, the server lacks resources, or an operator or a time limit ended the session.
        _ if ["08", "53", "57P"].iter().any(|class| code.starts_with(class)) => ErrorKind::Unavailable,
        // The login was denied.
        _ if code.starts_with("28") => ErrorKind::NoConnection,
        _ if code.starts_with("23") => ErrorKind::Constraint,
        _ => ErrorKind::Other("statement failed"),
    }
}

/// The SQLSTATE that a schema's policies raise for a locked person. The class is one that Postgres does not use.
const PERSON_LOCKED: &str = "UL001";
/// The SQLSTATE that a schema's triggers raise for a quota that is used up. The constraint is the quota's name, and the detail
/// `used/limit`.
const QUOTA_EXCEEDED: &str = "UQ001";
/// The SQLSTATE that a schema's triggers raise for too many mutations. The constraint is the limit's name, and the detail the
/// wait in milliseconds and the number of mutations that the limit admits at once.
const RATE_EXCEEDED: &str = "UR001";
/// The SQLSTATE for a statement that is prepared under a name that the session already has.
const SHARED_STATEMENT: &str = "42P05";
/// The SQLSTATE for the execution of a prepared statement that the session does not have.
const LOST_STATEMENT: &str = "26000";

/// Returns the two numbers in the detail of an error of a limit.
fn exceeded(error: &dyn DatabaseError, code: &str) -> Option<Exceeded> {
    if ![QUOTA_EXCEEDED, RATE_EXCEEDED].contains(&code) {
        return None;
    }
    let detail = error.try_downcast_ref::<PgDatabaseError>()?.detail()?;
    let (first, second) = detail.split_once('/')?;
    Some(Exceeded(first.parse().ok()?, second.parse().ok()?))
}

/// Returns whether `error` says that prepared statements are not kept in one session: a pooler in transaction mode is in
/// between.
pub(super) fn mixes_sessions(error: &Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| [SHARED_STATEMENT, LOST_STATEMENT].contains(&&*code))
}

/// Returns whether the connection must not be used again after `error`: it broke, its session ended, or its server is a
/// standby.
pub(super) fn breaks_connection(error: &Error) -> bool {
    match error {
        Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            matches!(&*code, "25006" | "25P03" | "25P04" | "55000")
                || ["08", "57P"].iter().any(|class| code.starts_with(class))
        }
        Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed => true,
        _ => false,
    }
}

/// Returns whether messages with this SQLSTATE describe the connection or the server, and therefore quote no row.
fn is_about_connection(code: &str) -> bool {
    matches!(code, "25P03" | "25P04") || ["08", "53", "57P"].iter().any(|class| code.starts_with(class))
}

/// Returns the beginning of a server's message, without control characters.
fn one_line(message: &str) -> String {
    let printable = message.chars().map(|character| match character.is_control() {
        true => ' ',
        false => character,
    });
    printable.take(MESSAGE_LENGTH).collect()
}

/// The maximum length of a server's message, in characters.
const MESSAGE_LENGTH: usize = 200;

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        let limit = error.constraint().unwrap_or_default();
        match (error.kind, error.details.exceeded) {
            (ErrorKind::Quota, Some(Exceeded(used, allowed))) => {
                return Self::quota_exceeded(limit, used, allowed);
            }
            (ErrorKind::Rate, Some(Exceeded(millis, allowed))) => {
                return Self::new(Reason::RateLimited)
                    .retry_after(Duration::from_millis(millis))
                    .quota(
                        limit,
                        format!("At most {allowed} at once, and then at the configured rate"),
                    );
            }
            _ => {}
        }
        let reason = match error.kind {
            ErrorKind::Unavailable
            | ErrorKind::Standby
            | ErrorKind::NoConnection
            | ErrorKind::ConnectionRefused => Reason::DependencyUnavailable,
            ErrorKind::Deadline | ErrorKind::Unconfirmed => Reason::Deadline,
            ErrorKind::Locked => reason::locked(),
            ErrorKind::Quota => Reason::QuotaExceeded,
            ErrorKind::Rate => Reason::RateLimited,
            ErrorKind::Constraint | ErrorKind::Refused | ErrorKind::Other(_) => Reason::Internal,
        };
        Self::new(reason).because(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_poolers_and_of_sessions_that_ended_can_be_retried() {
        for code in [
            "08P01", "08006", "53100", "53300", "57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04",
        ] {
            let kind = kind_of_sqlstate(code);
            let retried = matches!(kind, ErrorKind::Unavailable | ErrorKind::NoConnection);
            assert!(retried, "{code}: {kind:?}");
            assert!(is_about_connection(code), "{code}");
        }
    }

    #[test]
    fn messages_that_can_quote_a_row_are_dropped() {
        for code in ["23505", "22P02", "42P05", "26000", "P0001", "57014", "42501"] {
            assert!(!is_about_connection(code), "{code}");
        }
    }

    #[test]
    fn a_message_is_one_short_line() {
        assert_eq!(one_line("no\nmore\tconnections"), "no more connections");
        assert_eq!(one_line(&"é".repeat(1_000)).chars().count(), MESSAGE_LENGTH);
    }
}
