//! The statements: plain SQL, one for each operation, made once for a table.

use tokio_postgres::types::Type;

use super::{statement::Statement, table::TableName};

/// Rows of a page of a listing.
pub(super) const PAGE_ROWS: usize = 500;

/// A page ends with the first row at which its values have so many bytes.
const PAGE_BYTES: usize = 4 << 20;

pub(super) struct Sql {
    /// The table's name, quoted.
    pub(super) table: String,
    pub(super) get: Statement,
    pub(super) get_many: Statement,
    pub(super) insert: Statement,
    pub(super) insert_many: Statement,
    pub(super) update: Statement,
    pub(super) update_many: BatchStatement,
    pub(super) rename: Statement,
    pub(super) rename_many: BatchStatement,
    pub(super) delete: Statement,
    pub(super) delete_many: BatchStatement,
    pub(super) exists: Statement,
    pub(super) list: Statement,
    /// Need every right that sessions need, and change nothing.
    pub(super) check: [Statement; 3],
    pub(super) create_table: Statement,
}

/// A statement that changes many rows. All such statements lock rows in one order, so that they do not
/// deadlock.
pub(super) struct BatchStatement {
    /// For our own connections, which lock rows in the order of an index on the key. Where a collation sorts
    /// keys otherwise than by their bytes, that is not the other statement's order. Then `lock_timeout` ends
    /// the wait, and requests run alone.
    pub(super) index_order: Statement,
    /// For connections that may have any plan: locks the rows in order before it changes them.
    pub(super) lock_first: Statement,
}

impl Sql {
    pub(super) fn new(table: &TableName) -> Self {
        let t = table.quoted();
        Self {
            get: get(&t, "session_key = $1", &[Type::TEXT, Type::TIMESTAMPTZ, Type::INT4]),
            get_many: get(&t, UNDER_KEYS, &[Type::TEXT_ARRAY, Type::TIMESTAMPTZ, Type::INT4]),
            insert: insert(&t),
            insert_many: insert_many(&t),
            update: replace(&t, false),
            update_many: replace_many(&t, false),
            rename: replace(&t, true),
            rename_many: replace_many(&t, true),
            delete: Statement::new(format!("DELETE FROM {t} WHERE session_key = $1"), &[Type::TEXT]),
            delete_many: batch(
                &t,
                "UPDATE",
                &format!("DELETE FROM {t}"),
                UNDER_KEYS,
                "true",
                &[Type::TEXT_ARRAY],
            ),
            exists: Statement::new(format!("SELECT 1 FROM {t} WHERE session_key = $1"), &[Type::TEXT]),
            list: list(&t),
            check: check(&t),
            create_table: Statement::script(table.ddl()),
            table: t,
        }
    }
}

const UNDER_KEYS: &str = "session_key = ANY($1)";

/// The condition that a row is live at the time in a parameter. `IS TRUE` keeps the planner off the index on
/// the date: on a table that was small when the plan was made, that index looks as good as the one on the
/// key, and the plan stays when the table has grown.
fn live_at(time: &str) -> String {
    format!("(expire_date > {time}) IS TRUE")
}

/// Values longer than $3 bytes are not read.
fn get(t: &str, under: &str, types: &'static [Type]) -> Statement {
    let live = live_at("$2");
    let text = format!(
        "SELECT session_key, CASE WHEN octet_length(session_data) <= $3 THEN session_data END, expire_date \
         FROM {t} WHERE {under} AND {live}"
    );
    Statement::new(text, types)
}

/// Without `ON CONFLICT`, which looks each key up beforehand: keys are random, so conflicts are rare.
fn insert(t: &str) -> Statement {
    Statement::new(
        format!("INSERT INTO {t} (session_key, session_data, expire_date) VALUES ($1, $2, $3)"),
        &[Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ],
    )
}

fn insert_many(t: &str) -> Statement {
    Statement::new(
        format!(
            "INSERT INTO {t} (session_key, session_data, expire_date) SELECT * \
             FROM unnest($1::text[], $2::text[], $3::timestamptz[])"
        ),
        &[Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::TIMESTAMPTZ_ARRAY],
    )
}

const REPLACE: &[Type] =
    &[Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT];

const REPLACE_MANY: &[Type] = &[
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TEXT_ARRAY,
];

/// Changes the row under $1 if it still holds $2 and is live at $3. A value of NULL keeps the stored one.
fn replace(t: &str, rename: bool) -> Statement {
    let (key, live) = (if rename { ", session_key = $6" } else { "" }, live_at("$3"));
    let text = format!(
        "UPDATE {t} SET session_data = COALESCE($4, session_data), expire_date = $5{key} \
         WHERE session_key = $1 AND session_data = $2 AND {live}"
    );
    Statement::new(text, if rename { REPLACE } else { &REPLACE[..5] })
}

/// The same for many rows. $1 has the keys in the order of their bytes; the other arrays have what belongs to
/// each. Each row looks up its own place in them: a join costs more, and has plans that read the whole table.
fn replace_many(t: &str, rename: bool) -> BatchStatement {
    let key = "session_key::text COLLATE \"C\"";
    let of_this_row = |array: &str| format!("({array})[width_bucket({key}, $1)]");
    let new_key = if rename { format!(", session_key = {}", of_this_row("$6")) } else { String::new() };
    let change = format!(
        "UPDATE {t} SET session_data = COALESCE({}, session_data), expire_date = {}{new_key}",
        of_this_row("$4"),
        of_this_row("$5")
    );
    let live = live_at("$3");
    // Keys are compared again: where a collation takes two keys for equal, the place may be another key's.
    let unchanged = format!("{key} = {} AND session_data = {}", of_this_row("$1"), of_this_row("$2"));
    let (lock, types) = if rename { ("UPDATE", REPLACE_MANY) } else { ("NO KEY UPDATE", &REPLACE_MANY[..5]) };
    batch(t, lock, &change, &format!("{UNDER_KEYS} AND {live}"), &unchanged, types)
}

/// Locks `rows`, and changes those that are `unchanged`.
fn batch(
    t: &str,
    lock: &str,
    change: &str,
    rows: &str,
    unchanged: &str,
    types: &'static [Type],
) -> BatchStatement {
    let index_order = format!("{change} WHERE {rows} AND {unchanged} RETURNING session_key");
    // The count cannot be known before all rows are locked.
    let lock_first = format!(
        "WITH locked AS (SELECT 1 FROM {t} WHERE {rows} ORDER BY session_key COLLATE \"C\" FOR {lock}) \
         {change} WHERE {rows} AND {unchanged} AND (SELECT count(*) FROM locked) > 0 RETURNING session_key"
    );
    BatchStatement {
        index_order: Statement::new(index_order, types),
        lock_first: Statement::new(lock_first, types),
    }
}

/// A page in the order of the keys that follow $1. Values longer than $2 bytes are not read. The last column
/// says whether the page ends with this row because of its bytes. The lengths are in the rows: nothing is
/// read of a value that is left out.
fn list(t: &str) -> Statement {
    let text = format!(
        "SELECT session_key, CASE WHEN octet_length(session_data) <= $2 THEN session_data END, expire_date, \
         total >= {PAGE_BYTES} \
         FROM (SELECT *, sum(bytes) OVER (ORDER BY session_key) AS total \
         FROM (SELECT session_key, session_data, expire_date, \
         CASE WHEN octet_length(session_data) <= $2 THEN octet_length(session_data) ELSE 0 END AS bytes \
         FROM {t} WHERE session_key > $1 ORDER BY session_key LIMIT {PAGE_ROWS}) AS page) AS summed \
         WHERE total - bytes < {PAGE_BYTES} ORDER BY session_key"
    );
    Statement::new(text, &[Type::TEXT, Type::INT4])
}

fn check(t: &str) -> [Statement; 3] {
    [
        format!(
            "INSERT INTO {t} (session_key, session_data, expire_date) \
             SELECT session_key, session_data, expire_date FROM {t} \
             WHERE false AND session_key = $1 AND session_data = $2"
        ),
        format!("UPDATE {t} SET session_key = $1, session_data = $2, expire_date = now() WHERE false"),
        format!("DELETE FROM {t} WHERE false AND session_key = $1 AND session_data = $2"),
    ]
    .map(|text| Statement::new(text, &[Type::TEXT, Type::TEXT]))
}
