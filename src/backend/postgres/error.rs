//! Errors of the driver and the database: what they mean for a statement, and what to do about them.

use std::error::Error as StdError;

use tokio_postgres::{Error as DriverError, error::SqlState};

use crate::Error;

/// Why a statement has no result.
pub(super) struct StatementError {
    pub(super) error: Error,
    /// A row was locked for longer than the statement may wait.
    pub(super) locked: bool,
    /// A batch would succeed without the row that caused it.
    pub(super) row_specific: bool,
    /// A unique constraint refused the row: the key is taken, or the table has a constraint of its own.
    pub(super) unique: bool,
    /// The statement was sent twice because the first reply was lost: the first one may have been applied.
    pub(super) maybe_applied: bool,
}

impl StatementError {
    pub(super) fn new(action: &str, error: DriverError, maybe_applied: bool) -> Self {
        Self {
            locked: is_locked(&error),
            row_specific: is_row_specific(&error),
            unique: error.code() == Some(&SqlState::UNIQUE_VIOLATION),
            maybe_applied,
            error: explain(action, error),
        }
    }
}

impl From<Error> for StatementError {
    fn from(error: Error) -> Self {
        Self { error, locked: false, row_specific: false, unique: false, maybe_applied: false }
    }
}

impl From<StatementError> for Error {
    fn from(failed: StatementError) -> Self {
        failed.error
    }
}

/// Whether the connection is of no more use.
pub(super) fn is_lost(error: &DriverError) -> bool {
    let gone = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::IDLE_SESSION_TIMEOUT,
    ];
    error.is_closed()
        || error.code().is_some_and(|code| gone.contains(code) || code.code().starts_with("08"))
        || is_read_only(error)
        || is_outdated(error)
        || error.source().is_some_and(|cause| cause.is::<std::io::Error>())
}

/// Whether the server is a standby, as a former primary is after a failover.
pub(super) fn is_read_only(error: &DriverError) -> bool {
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

/// Whether the statement was prepared when the table had other columns.
fn is_outdated(error: &DriverError) -> bool {
    error.as_db_error().is_some_and(|db| db.message().starts_with("cached plan must not change"))
}

/// Whether another transaction holds a row for longer than a statement waits.
pub(super) fn is_locked(error: &DriverError) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// Whether the statement lost against a concurrent transaction and was rolled back: look again. It happens at
/// higher isolation levels, when rows move between partitions, and in foreign tables.
pub(super) fn is_conflict(error: &DriverError) -> bool {
    let conflicts = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
    error.code().is_some_and(|code| conflicts.contains(code))
}

fn is_row_specific(error: &DriverError) -> bool {
    // Data exceptions, constraints, deadlocks and the like, limits, and exceptions of triggers.
    let classes = ["22", "23", "40", "54", "P0"];
    error.code().is_some_and(|code| {
        *code == SqlState::QUERY_CANCELED || classes.iter().any(|class| code.code().starts_with(class))
    })
}

/// Whether a statement may have been applied although its connection was lost. Not if the server refused it.
pub(super) fn may_be_applied(error: &DriverError) -> bool {
    !is_read_only(error) && !is_outdated(error)
}

/// Returns the error in words that say what to do.
pub(super) fn explain(action: &str, error: DriverError) -> Error {
    let text = format!("cannot {action}: {}", advice(action, &error));
    match error.as_db_error() {
        // Only message and code: the detail quotes the row, with the visitor's data.
        Some(db) => Error::store_caused_by(text, format!("{} (SQLSTATE {})", db.message(), db.code().code())),
        None => Error::store_caused_by(text, error),
    }
}

pub(super) fn unexpected_columns(error: DriverError) -> Error {
    Error::store_caused_by("the table of sessions has other columns than Django's", error)
}

const POOLER: &str = "a pooler (PgBouncer?) in transaction mode stands before the database: add \
     pgbouncer=true to the URL, or call Postgres::pgbouncer(true)";

fn advice(action: &str, error: &DriverError) -> &'static str {
    let Some(code) = error.code() else {
        return match error.to_string().starts_with("error performing TLS handshake") {
            true => tls_advice(error),
            false => "the database is away",
        };
    };
    let message = error.as_db_error().map_or("", |db| db.message());
    match *code {
        _ if message.starts_with("unsupported startup parameter") => POOLER,
        SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT => POOLER,
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            "the database is read-only, as a standby is: name the primary in the URL, or all hosts with \
             target_session_attrs=read-write"
        }
        SqlState::NOT_NULL_VIOLATION => {
            "the table of sessions has a further column that is NOT NULL: give it a default"
        }
        SqlState::UNIQUE_VIOLATION => {
            "the table of sessions has a unique constraint besides that of the key: drop it"
        }
        SqlState::UNDEFINED_TABLE => {
            "the table of sessions does not exist (or is not on the search_path): run Django's \
             `manage.py migrate`, or call create_table()"
        }
        SqlState::INSUFFICIENT_PRIVILEGE if action.starts_with("create the table") => {
            "the role may not create tables here: GRANT CREATE ON SCHEMA to it, or let another role create it"
        }
        SqlState::INSUFFICIENT_PRIVILEGE => {
            "the role lacks a right: GRANT SELECT, INSERT, UPDATE, DELETE on the table of sessions to it"
        }
        SqlState::UNDEFINED_COLUMN => {
            "the table of sessions has other columns than Django's session_key, session_data, expire_date"
        }
        SqlState::TOO_MANY_CONNECTIONS => {
            "the database has no connection left: raise max_connections, or run fewer workers"
        }
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "the database refuses this user or password"
        }
        SqlState::INVALID_CATALOG_NAME => "there is no such database",
        _ => "the database refused the statement",
    }
}

fn tls_advice(error: &DriverError) -> &'static str {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    if cause.contains("server does not support TLS") {
        "the database has no TLS: turn it on there, or do without by sslmode=prefer or disable"
    } else {
        "TLS failed, or the server's certificate was refused"
    }
}
