//! Errors of the driver and the database in words that say what to do.

use std::{borrow::Cow, error::Error as _};

use tokio_postgres::{
    Error as DriverError,
    error::{DbError, SqlState},
};

use super::error::is_foreign_key;
use crate::{Error, backend::Action};

const POOLER: &str = "a pooler in transaction mode (PgBouncer, RDS Proxy?) stands before the database: add \
     pgbouncer=true to the URL, or call Postgres::pgbouncer(true)";

/// The tables that a statement is about.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "auth"), allow(dead_code))]
pub(super) enum Subject {
    Sessions,
    Users,
}

/// Returns the error in words that say what to do.
pub(super) fn explain(action: Action, error: DriverError, subject: Subject) -> Error {
    let advice = match error.as_db_error() {
        Some(db)
            if subject == Subject::Users
                && let Some(advice) = of_users(action, db.code()) =>
        {
            advice.into()
        }
        Some(db) => of_the_server(action, db),
        None => of_the_driver(&error).into(),
    };
    let text = format!("cannot {action}: {advice}");
    match error.as_db_error() {
        // Messages of data exceptions quote the value, which may be a visitor's.
        Some(db) if db.code().code().starts_with("22") => {
            Error::store_caused_by(text, format!("SQLSTATE {}", db.code().code()))
        }
        // Only message and code: the detail quotes the row, with the visitor's data.
        Some(db) => Error::store_caused_by(text, format!("{} (SQLSTATE {})", db.message(), db.code().code())),
        None => Error::store_caused_by(text, error),
    }
}

fn of_the_server(action: Action, db: &DbError) -> Cow<'static, str> {
    let code = db.code();
    let named = |name: Option<&str>| name.map(|name| format!(" {name:?}")).unwrap_or_default();
    let text = match *code {
        _ if is_from_a_pooler(db) => POOLER,
        _ if is_foreign_key(code) => return foreign_key(action, db).into(),
        SqlState::READ_ONLY_SQL_TRANSACTION => {
            "the database is read-only, as a standby is: name the primary in the URL, or all hosts with \
             target_session_attrs=read-write; of a table on several servers, one may be read-only"
        }
        SqlState::NOT_NULL_VIOLATION => {
            let column = named(db.column());
            return format!(
                "the table of sessions has a further column{column} that is NOT NULL: give it a default, or a \
                 value by Postgres::column"
            )
            .into();
        }
        SqlState::UNIQUE_VIOLATION => {
            let constraint = named(db.constraint());
            return format!(
                "the table of sessions has a unique constraint{constraint} besides that of the key: drop it"
            )
            .into();
        }
        SqlState::CHECK_VIOLATION if db.routine() == Some("ExecFindPartition") => {
            "the table of sessions has no partition for this row: create it, or a DEFAULT partition"
        }
        SqlState::CHECK_VIOLATION => {
            return format!("the check constraint{} refuses the row: drop it", named(db.constraint())).into();
        }
        SqlState::UNDEFINED_TABLE => {
            "the table of sessions does not exist (or is not on the search_path): run Django's \
             `manage.py migrate`, or call create_table()"
        }
        SqlState::INSUFFICIENT_PRIVILEGE if is_row_security(db) => {
            "a row-level security policy of the table of sessions refuses the row: give the role a policy \
             that admits every session, or BYPASSRLS"
        }
        SqlState::INSUFFICIENT_PRIVILEGE if action.phrase.starts_with("create the table") => {
            "the role may not create tables here: GRANT CREATE ON SCHEMA to it, or let another role create it"
        }
        SqlState::INSUFFICIENT_PRIVILEGE => {
            "the role lacks a right: GRANT SELECT, INSERT, UPDATE, DELETE on the table of sessions to it"
        }
        SqlState::UNDEFINED_COLUMN | SqlState::DATATYPE_MISMATCH | SqlState::UNDEFINED_FUNCTION => {
            "the table of sessions has other columns than Django's session_key, session_data, expire_date"
        }
        SqlState::TOO_MANY_CONNECTIONS => {
            "the database has no connection left: raise max_connections, or run fewer workers"
        }
        SqlState::CANNOT_CONNECT_NOW => "the database starts, stops or recovers: try again",
        SqlState::INVALID_PASSWORD => "the database refuses this user or password",
        // Raised for a role that does not exist or may not log in, and by pg_hba.conf.
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION if db.routine() != Some("ClientAuthentication") => {
            "the database refuses this user or password"
        }
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            "the server's pg_hba.conf does not let this user in from here; if it wants TLS, build with the \
             feature tls and add sslmode=require to the URL, or sslmode=disable if it wants none"
        }
        SqlState::INVALID_CATALOG_NAME => "there is no such database",
        SqlState::QUERY_CANCELED => "the statement took longer than the statement_timeout, or was cancelled",
        SqlState::LOCK_NOT_AVAILABLE => "another transaction has locked the row or the table for too long",
        SqlState::DISK_FULL => "the disk of the database is full",
        _ => "the database refused the statement",
    };
    text.into()
}

/// What differs for the tables of users from that of sessions.
fn of_users(action: Action, code: &SqlState) -> Option<&'static str> {
    let of_attempts = action.phrase.ends_with("attempts to log in");
    Some(match *code {
        SqlState::UNDEFINED_TABLE if of_attempts => {
            "the table actix_login_attempts does not exist (or is not on the search_path): call \
             DatabaseThrottle::create_table()"
        }
        SqlState::INSUFFICIENT_PRIVILEGE if of_attempts => {
            "the role lacks a right: GRANT SELECT, INSERT, UPDATE, DELETE ON actix_login_attempts to it, and \
             CREATE on the schema to create the table"
        }
        SqlState::UNDEFINED_TABLE => {
            "a table of users or of their permissions does not exist (or is not on the search_path): run \
             Django's `manage.py migrate`, call Users::create_tables(), or correct the UserModel"
        }
        SqlState::UNDEFINED_COLUMN
        | SqlState::UNDEFINED_FUNCTION
        | SqlState::DATATYPE_MISMATCH
        | SqlState::CANNOT_COERCE => {
            "the table of users has other columns than the UserModel: see UserModel::column, without, extra and key"
        }
        SqlState::INSUFFICIENT_PRIVILEGE => {
            "the role lacks a right on a table of users: GRANT SELECT on the tables of auth to it, \
             UPDATE (password, last_login) on that of users, and INSERT on it to create users"
        }
        SqlState::NOT_NULL_VIOLATION => {
            "the table of users has a further column that is NOT NULL: give it a default, or a value by \
             NewUser::column"
        }
        SqlState::UNIQUE_VIOLATION => "another user has this login name, or another unique value",
        SqlState::INVALID_TEXT_REPRESENTATION | SqlState::NUMERIC_VALUE_OUT_OF_RANGE => {
            "a value does not fit its column's type"
        }
        SqlState::STRING_DATA_RIGHT_TRUNCATION => "a text is too long for its column",
        _ => return None,
    })
}

fn is_from_a_pooler(db: &DbError) -> bool {
    match *db.code() {
        SqlState::INVALID_SQL_STATEMENT_NAME | SqlState::DUPLICATE_PSTATEMENT => true,
        // PgBouncer has this code for nearly everything. Its messages have no locale.
        SqlState::PROTOCOL_VIOLATION => db.message().starts_with("unsupported startup parameter"),
        // RDS Proxy, of start-up options. PostgreSQL itself always names the routine.
        SqlState::FEATURE_NOT_SUPPORTED => db.routine().is_none(),
        _ => false,
    }
}

/// The code is that of a missing right; the routines are those that apply policies.
fn is_row_security(db: &DbError) -> bool {
    matches!(db.routine(), Some("ExecWithCheckOptions" | "check_enable_rls" | "get_row_security_policies"))
}

fn foreign_key(action: Action, db: &DbError) -> String {
    let name = format!(
        "the foreign key {:?} of the table {:?}",
        db.constraint().unwrap_or_default(),
        db.table().unwrap_or_default()
    );
    if action.phrase.starts_with("create") {
        return format!("{name} refuses the row: give its column a default that it permits");
    }
    format!(
        "{name} refers to the session and forbids the change: make it ON UPDATE CASCADE (for new keys) and \
         ON DELETE CASCADE or SET NULL (for logouts); `django-session doctor` prints the statement"
    )
}

/// The driver keeps the kinds of its errors private. These are its own texts, which have no locale.
fn of_the_driver(error: &DriverError) -> &'static str {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    match (&*error.to_string(), &*cause) {
        ("error performing TLS handshake", cause) if cause.contains("server does not support TLS") => {
            "the database has no TLS: turn it on there, or do without by sslmode=prefer or disable"
        }
        ("error performing TLS handshake", _) => "TLS failed, or the server's certificate was refused",
        ("invalid configuration", "password missing") => {
            "the database asks for a password, and none is given: write it into the URL \
             (postgres://user:password@host/database), PGPASSWORD or ~/.pgpass (of mode 0600)"
        }
        ("authentication error", "server did not use channel binding") => {
            "channel_binding=require needs TLS, and a password stored as scram-sha-256: add \
             sslmode=require, or take channel_binding out of the URL"
        }
        ("authentication error", "unsupported authentication method" | "unsupported SASL mechanism") => {
            "the database asks for a kind of authentication that is not supported: let pg_hba.conf use \
             scram-sha-256, md5 or a client certificate for this user"
        }
        ("authentication error", _) => {
            "the server could not prove that it knows the password: is it the right one?"
        }
        ("unexpected message from server" | "error parsing response from server", _) => {
            "the reply is not PostgreSQL's: are host and port those of a PostgreSQL?"
        }
        _ => "the database is away",
    }
}
