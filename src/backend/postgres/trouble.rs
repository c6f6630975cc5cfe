//! Errors of the driver and the database: what they mean to us, and what to do about them.

use std::error::Error as StdError;

use tokio_postgres::{Error as Cause, error::SqlState};

use crate::Error;

/// The connection is of no more use.
pub(super) fn lost(error: &Cause) -> bool {
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

/// The server was the primary, and now another one is.
pub(super) fn is_read_only(error: &Cause) -> bool {
    error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

/// The statement was prepared when the table had other columns.
fn is_outdated(error: &Cause) -> bool {
    error.as_db_error().is_some_and(|db| db.message().starts_with("cached plan must not change"))
}

/// Somebody holds a row, for longer than a statement waits for it.
pub(super) fn is_locked(error: &Cause) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// The database would carry out the rest of the batch: what is in one of its rows, or who holds one, is in the way.
pub(super) fn is_of_a_row(error: &Cause) -> bool {
    // Data exceptions, constraints, deadlocks and the like, limits, and what a trigger raises.
    let classes = ["22", "23", "40", "54", "P0"];
    error.code().is_some_and(|code| {
        *code == SqlState::QUERY_CANCELED || classes.iter().any(|class| code.code().starts_with(class))
    })
}

/// Whether the statement of a lost connection may have been carried out. Not if the server looked at it and refused.
pub(super) fn may_be_done(error: &Cause) -> bool {
    !is_read_only(error) && !is_outdated(error)
}

/// A new key that is taken.
pub(super) fn is_duplicate(error: &Cause) -> bool {
    error.code() == Some(&SqlState::UNIQUE_VIOLATION)
}

/// The error in words that say what to do.
pub(super) fn explain(what: &str, error: Cause) -> Error {
    let text = format!("cannot {what}: {}", advice(what, &error));
    match error.as_db_error() {
        // Its message and code alone: the detail quotes the row, which is the visitor's.
        Some(db) => Error::store_caused_by(text, format!("{} (SQLSTATE {})", db.message(), db.code().code())),
        None => Error::store_caused_by(text, error),
    }
}

pub(super) fn other_columns(error: Cause) -> Error {
    Error::store_caused_by("the table of sessions has other columns than Django's", error)
}

const POOLER: &str = "a pooler (PgBouncer?) stands between here and the database, and gives each transaction another \
     connection: add pgbouncer=true to the URL, or call PostgresStore::pgbouncer(true)";

fn advice(what: &str, error: &Cause) -> &'static str {
    let Some(code) = error.code() else {
        return match error.to_string().starts_with("error performing TLS handshake") {
            true => tls_advice(error),
            false => "the database is away",
        };
    };
    if *code == SqlState::INSUFFICIENT_PRIVILEGE && what.starts_with("create the table") {
        return "this role may not create tables here: GRANT CREATE ON SCHEMA to it, or have it created by another";
    }
    let message = error.as_db_error().map_or("", |db| db.message());
    match code {
        _ if message.starts_with("unsupported startup parameter") => POOLER,
        _ if [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT].contains(code) => POOLER,
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
            "the database is read-only, as a standby is: name the primary, or all of them with \
             target_session_attrs=read-write"
        }
        _ if *code == SqlState::NOT_NULL_VIOLATION => {
            "the table of sessions has a further column that must not be null and has no default"
        }
        _ if *code == SqlState::UNDEFINED_TABLE => {
            "the table of sessions is not there (or not on the search_path): run Django's \
             `manage.py migrate`, or call create_table()"
        }
        _ if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            "this role may not: GRANT SELECT, INSERT, UPDATE, DELETE on the table of sessions to it"
        }
        _ if *code == SqlState::UNDEFINED_COLUMN => {
            "the table of sessions has other columns than Django's session_key, session_data, expire_date"
        }
        _ if *code == SqlState::TOO_MANY_CONNECTIONS => "the database has no connection left",
        _ if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) => {
            "the database refuses this user or password"
        }
        _ if *code == SqlState::INVALID_CATALOG_NAME => "there is no such database",
        _ => "the database refused",
    }
}

fn tls_advice(error: &Cause) -> &'static str {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    if cause.contains("server does not support TLS") {
        "the database has no TLS: turn it on there, or do without by sslmode=prefer or disable"
    } else {
        "TLS failed, or the server's certificate was refused"
    }
}
