//! Errors of the driver and the database: what they mean for a statement.
//!
//! SQLSTATE and the routine that raised an error identify it. Messages are in the language of
//! the server's `lc_messages`.

use std::error::Error as _;

use tokio_postgres::{
    Error as DriverError,
    error::{DbError, Severity, SqlState},
};

use super::advice::Subject;
pub(super) use super::advice::explain;
use crate::{Error, backend::Action};

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
    /// A constraint or a trigger refused one of the rows.
    pub(super) refused: Option<Refusal>,
}

/// The refusal of a row by a constraint, a trigger or its data.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// Schema, table and name of the foreign key that is violated.
    pub(super) foreign_key: Option<[String; 3]>,
}

impl StatementError {
    pub(super) fn new(action: Action, subject: Subject, error: DriverError, maybe_applied: bool) -> Self {
        Self {
            locked: is_locked(&error),
            row_specific: is_row_specific(&error),
            unique: is_unique(&error),
            maybe_applied,
            refused: refusal(&error),
            error: explain(action, error, subject),
        }
    }
}

impl From<Error> for StatementError {
    fn from(error: Error) -> Self {
        Self { error, locked: false, row_specific: false, unique: false, maybe_applied: false, refused: None }
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
        SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN,
    ];
    // The server ends the connection, whatever the code is: in a commit, the change may be applied.
    let severe = [Some(Severity::Fatal), Some(Severity::Panic)];
    if is_of_another_server(error) {
        return false;
    }
    error.is_closed()
        || error.as_db_error().is_some_and(|db| severe.contains(&db.parsed_severity()))
        || error.code().is_some_and(|code| gone.contains(code) || code.code().starts_with("08"))
        || is_read_only(error)
        || is_outdated(error)
        || error.source().is_some_and(|cause| cause.is::<std::io::Error>())
}

/// Whether this server has lost another one, as the coordinator of a distributed table does: what was to be
/// done there may be done. The connection is as good as before.
pub(super) fn is_of_another_server(error: &DriverError) -> bool {
    error.as_db_error().is_some_and(|db| {
        let code = db.code();
        db.parsed_severity() == Some(Severity::Error)
            && code.code().starts_with("08")
            && *code != SqlState::PROTOCOL_VIOLATION
    })
}

/// Whether the statement was ended by the timeout or an operator.
pub(super) fn is_canceled(error: &DriverError) -> bool {
    error.code() == Some(&SqlState::QUERY_CANCELED)
}

/// Whether the server is a standby, as a former primary is after a failover.
pub(super) fn is_read_only(error: &DriverError) -> bool {
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

/// Whether the statement was prepared when the table had other columns.
fn is_outdated(error: &DriverError) -> bool {
    let raised_by = |db: &DbError| db.routine() == Some("RevalidateCachedQuery");
    error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) && error.as_db_error().is_some_and(raised_by)
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

/// Whether the server does not have what the statement needs, as an engine that is not quite PostgreSQL.
pub(super) fn is_unsupported(error: &DriverError) -> bool {
    error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED)
}

/// Citus copies the rows of an INSERT … SELECT to another server, and hides the SQLSTATE of that server.
fn is_unique(error: &DriverError) -> bool {
    let copied = |db: &DbError| db.routine() == Some("ReportCopyError");
    match error.code() {
        Some(&SqlState::INTERNAL_ERROR) => error.as_db_error().is_some_and(copied),
        code => code == Some(&SqlState::UNIQUE_VIOLATION),
    }
}

fn is_row_specific(error: &DriverError) -> bool {
    // What only a batch needs, data exceptions, constraints, deadlocks and the like, limits, and exceptions
    // of triggers.
    let classes = ["0A", "22", "23", "40", "54", "P0"];
    error.code().is_some_and(|code| {
        *code == SqlState::QUERY_CANCELED || classes.iter().any(|class| code.code().starts_with(class))
    })
}

/// Whether a foreign key forbids the change. PostgreSQL 18 has a code of its own for ON DELETE RESTRICT.
pub(super) fn is_foreign_key(code: &SqlState) -> bool {
    [SqlState::FOREIGN_KEY_VIOLATION, SqlState::RESTRICT_VIOLATION].contains(code)
}

fn refusal(error: &DriverError) -> Option<Refusal> {
    let db = error.as_db_error()?;
    let code = db.code();
    // Data exceptions, constraints, limits, and exceptions of triggers.
    if !["22", "23", "54", "P0"].iter().any(|class| code.code().starts_with(class)) {
        return None;
    }
    let name = || Some([db.schema()?.to_owned(), db.table()?.to_owned(), db.constraint()?.to_owned()]);
    Some(Refusal { foreign_key: Some(code).filter(|code| is_foreign_key(code)).and_then(|_| name()) })
}

/// Whether a statement may have been applied although its connection was lost. Not if the server refused it.
pub(super) fn may_be_applied(error: &DriverError) -> bool {
    !is_read_only(error) && !is_outdated(error)
}

pub(super) fn unexpected_columns(error: DriverError) -> Error {
    Error::store_caused_by("the table of sessions has other columns than Django's", error)
}
