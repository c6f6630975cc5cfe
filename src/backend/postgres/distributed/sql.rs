//! The statements for a distributed table that differ from those for one server.

use tokio_postgres::types::Type;

use crate::backend::postgres::{sql::PAGE_ROWS, statement::Statement};

pub(in crate::backend::postgres) struct DistributedSql {
    /// Keys, lengths of the values and dates that follow the key $1.
    pub(super) page_keys: Statement,
    /// The rows that follow the key $1 up to the key $3. Values longer than $2 bytes are not read.
    pub(super) page: Statement,
    /// Keys and dates of up to $2 rows that are expired at $1 and follow the position $3, $4.
    pub(super) expired: Statement,
    /// Deletes the rows under the keys $1 that are expired at $2.
    pub(super) clear_many: Statement,
    pub(super) clear: Statement,
    /// Whether the table $1 may be read and written.
    pub(super) rights: Statement,
    /// The further columns of the table $1, and whether each is an identity that takes no value.
    pub(super) further_columns: Statement,
    /// Whether there is the table $1.
    pub(in crate::backend::postgres) has_table: Statement,
}

impl DistributedSql {
    pub(in crate::backend::postgres) fn new(t: &str) -> Self {
        let clear = |under: &str, types| {
            Statement::new(format!("DELETE FROM {t} WHERE {under} AND (expire_date < $2) IS TRUE"), types)
        };
        Self {
            page_keys: Statement::new(
                format!(
                    "SELECT session_key, octet_length(session_data) FROM {t} WHERE session_key > $1 \
                     ORDER BY session_key LIMIT {PAGE_ROWS}"
                ),
                &[Type::TEXT],
            ),
            page: Statement::new(
                format!(
                    "SELECT session_key, \
                     CASE WHEN octet_length(session_data) <= $2 THEN session_data END, expire_date FROM {t} \
                     WHERE session_key > $1 AND session_key <= $3 ORDER BY session_key LIMIT {PAGE_ROWS}"
                ),
                &[Type::TEXT, Type::INT4, Type::TEXT],
            ),
            expired: Statement::new(
                format!(
                    "SELECT session_key, expire_date FROM {t} WHERE expire_date < $1 \
                     AND expire_date >= COALESCE($3, '-infinity'::timestamptz) \
                     AND (expire_date > COALESCE($3, '-infinity'::timestamptz) OR session_key > $4) \
                     ORDER BY expire_date, session_key LIMIT $2"
                ),
                &[Type::TIMESTAMPTZ, Type::INT8, Type::TIMESTAMPTZ, Type::TEXT],
            ),
            clear_many: clear("session_key = ANY($1)", &[Type::TEXT_ARRAY, Type::TIMESTAMPTZ]),
            clear: clear("session_key = $1", &[Type::TEXT, Type::TIMESTAMPTZ]),
            rights: Statement::new(
                "SELECT has_table_privilege($1, 'SELECT'), has_table_privilege($1, 'INSERT'), \
                 has_table_privilege($1, 'UPDATE'), has_table_privilege($1, 'DELETE')",
                &[Type::TEXT],
            ),
            // Generated columns have no value of their own.
            further_columns: Statement::new(
                "SELECT attname::text, attidentity = 'a' FROM pg_catalog.pg_attribute \
                 WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' \
                 AND attname NOT IN ('session_key', 'session_data', 'expire_date') ORDER BY attnum",
                &[Type::TEXT],
            ),
            has_table: Statement::new("SELECT 1 WHERE to_regclass($1) IS NOT NULL", &[Type::TEXT]),
        }
    }
}
