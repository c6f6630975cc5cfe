//! The statements that count attempts to log in.

use crate::{
    backend::{
        Action,
        database::{Dialect, TextStatement},
    },
    metrics::Purpose,
};

/// Rows that one statement deletes at most.
pub(super) const SWEPT_AT_ONCE: u64 = 1000;

/// The statements. Times are milliseconds since 1970 by the database's clock, since those of hosts differ.
pub(super) struct Sql {
    pub(super) create: String,
    /// $1 and $3 keys, $2 and $4 windows in milliseconds. Returns key, attempts, milliseconds left.
    pub(super) count: TextStatement,
    /// $1 key of name and address, $2 key of the address.
    pub(super) reset: TextStatement,
    pub(super) sweep: TextStatement,
}

impl Sql {
    pub(super) fn new(dialect: Dialect, schema: Option<&str>) -> Self {
        let table = "\"actix_login_attempts\"";
        let columns = "\"key\" varchar(43) NOT NULL PRIMARY KEY, \"attempts\" bigint NOT NULL, \
                       \"expires_ms\" bigint NOT NULL";
        let create = |table: &str| {
            format!(
                "CREATE TABLE IF NOT EXISTS {table} ({columns}); \
                 CREATE INDEX IF NOT EXISTS \"actix_login_attempts_expires_ms\" ON {table} (\"expires_ms\");"
            )
        };
        let count = |table: &str, now: &str, new: &str| {
            format!(
                "INSERT INTO {table} AS a (key, attempts, expires_ms) {new} \
                 ON CONFLICT (key) DO UPDATE SET \
                 attempts = CASE WHEN a.expires_ms <= {now} THEN 1 ELSE a.attempts + 1 END, \
                 expires_ms = CASE WHEN a.expires_ms <= {now} THEN excluded.expires_ms ELSE a.expires_ms END"
            )
        };
        let reset = |table: &str, one: &str, keys: &str| {
            format!(
                "UPDATE {table} SET attempts = \
                 CASE WHEN key = {one} OR attempts < 1 THEN 0 ELSE attempts - 1 END WHERE key IN ({keys})"
            )
        };
        let (create, count, reset, sweep) = match dialect {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => {
                let schema = schema.map(|schema| format!("\"{}\".", schema.replace('"', "\"\"")));
                let table = schema.unwrap_or_default() + table;
                let short = crate::backend::short_lock_timeout();
                let now = "(extract(epoch FROM statement_timestamp()) * 1000)::bigint";
                let new = format!(
                    "SELECT v.key, 1, {now} + v.ms FROM (VALUES ($1::text, $2::bigint), ($3, $4::bigint)) \
                     AS v (key, ms) WHERE {short}"
                );
                let count = count(&table, now, &new);
                let in_order = format!(
                    "SELECT key FROM {table} WHERE key IN ($1, $2) AND {short} \
                     ORDER BY key COLLATE \"C\" FOR UPDATE"
                );
                (
                    // Two at once would both create it.
                    format!(
                        "DO $create$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('actix_login_attempts')); \
                         {} END $create$",
                        create(&table)
                    ),
                    format!("{count} RETURNING key::text, attempts::text, (expires_ms - {now})::text"),
                    reset(&table, "$1", &in_order),
                    format!(
                        "DELETE FROM {table} WHERE key IN (SELECT key FROM {table} WHERE expires_ms <= {now} \
                         AND {short} LIMIT {SWEPT_AT_ONCE} FOR UPDATE SKIP LOCKED)"
                    ),
                )
            }
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => {
                let now = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";
                let new = format!(
                    "SELECT column1, 1, {now} + CAST(column2 AS INTEGER) FROM (VALUES (?1, ?2), (?3, ?4)) \
                     WHERE true"
                );
                let count = count(table, now, &new);
                (
                    create(table),
                    format!("{count} RETURNING key, attempts, expires_ms - {now}"),
                    reset(table, "?1", "?1, ?2"),
                    format!(
                        "DELETE FROM {table} WHERE key IN \
                         (SELECT key FROM {table} WHERE expires_ms <= {now} LIMIT {SWEPT_AT_ONCE})"
                    ),
                )
            }
        };
        #[cfg(not(feature = "postgres"))]
        let _ = schema; // SQLite has none
        Self {
            create,
            count: TextStatement::write(
                Action::new("count attempts to log in", Purpose::Throttle),
                count,
                false,
            ),
            reset: TextStatement::write(
                Action::new("reset the count of attempts to log in", Purpose::Throttle),
                reset,
                false,
            ),
            sweep: TextStatement::write(
                Action::new("delete old attempts to log in", Purpose::Throttle),
                sweep,
                true,
            ),
        }
    }
}
