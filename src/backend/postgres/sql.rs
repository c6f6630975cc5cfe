//! The statements: plain SQL, one for each operation, made once for a table.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::{columns::Columns, distributed::DistributedSql, statement::Statement, table::TableName};

/// Rows of a page of a listing.
pub(super) const PAGE_ROWS: usize = 500;

/// A page ends with the first row at which its values have so many bytes.
pub(super) const PAGE_BYTES: usize = 4 << 20;

pub(super) struct Sql {
    /// The table's name, quoted.
    pub(super) table: String,
    pub(super) columns: Columns,
    pub(super) get: Statement,
    pub(super) get_many: Statement,
    pub(super) insert: Statement,
    pub(super) insert_many: Statement,
    pub(super) update: RowStatement,
    pub(super) update_many: BatchStatement,
    pub(super) rename: RowStatement,
    pub(super) rename_many: BatchStatement,
    pub(super) delete: RowStatement,
    pub(super) delete_many: BatchStatement,
    /// Returns those of the keys in $1 that are taken.
    pub(super) exist: Statement,
    /// Returns the key $1 if it is taken.
    pub(super) exists: Statement,
    pub(super) list: Statement,
    /// Need every right that sessions need, and change nothing.
    pub(super) check: [Statement; 3],
    pub(super) create_table: Statement,
    pub(super) distributed: DistributedSql,
}

/// How long a statement waits for a locked row. Batches and most statements need no longer: the lock of
/// another batch lasts a millisecond.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_millis(10);

/// How long an attempt waits for a row that is known to be locked.
pub(super) const LONGER_LOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// A statement that changes one row.
pub(super) struct RowStatement {
    /// Waits as the connection's `lock_timeout` says.
    pub(super) plain: Statement,
    /// Waits for [`LOCK_TIMEOUT`].
    pub(super) wait_shortly: Statement,
    /// Waits for [`LONGER_LOCK_TIMEOUT`].
    pub(super) wait_longer: Statement,
}

impl RowStatement {
    fn new(text: String, types: &'static [Type]) -> Self {
        let waiting = |time: Duration| {
            // Evaluated once, before the row is read. It ends with the transaction, which is the statement:
            // a pooler's next client has the old setting.
            let setting = format!("(SELECT set_config('lock_timeout', '{}', true))", time.as_millis());
            Statement::new(format!("{text} AND {setting} IS NOT NULL"), types)
        };
        let (wait_shortly, wait_longer) = (waiting(LOCK_TIMEOUT), waiting(LONGER_LOCK_TIMEOUT));
        Self { plain: Statement::new(text, types), wait_shortly, wait_longer }
    }
}

/// A statement that changes many rows.
pub(super) struct BatchStatement {
    /// For our own connections, which lock rows in the order of the keys, so that two batches do not
    /// deadlock. Where they do all the same, `lock_timeout` ends the wait.
    pub(super) key_order: Statement,
    /// Leaves out rows that are locked.
    pub(super) skip_locked: Statement,
}

impl Sql {
    pub(super) fn new(table: &TableName, columns: &Columns) -> Self {
        let t = table.quoted();
        Self {
            get: get(&t, "session_key = $1", &[Type::TEXT, Type::TIMESTAMPTZ, Type::INT4]),
            get_many: get(&t, UNDER_KEYS, &[Type::TEXT_ARRAY, Type::TIMESTAMPTZ, Type::INT4]),
            insert: insert(&t, columns),
            insert_many: insert_many(&t, columns),
            update: replace(&t, columns, false),
            update_many: replace_many(&t, columns, false),
            rename: replace(&t, columns, true),
            rename_many: replace_many(&t, columns, true),
            columns: columns.clone(),
            delete: RowStatement::new(format!("DELETE FROM {t} WHERE session_key = $1"), &[Type::TEXT]),
            delete_many: delete_many(&t),
            exist: Statement::new(
                format!("SELECT session_key FROM {t} WHERE {UNDER_KEYS}"),
                &[Type::TEXT_ARRAY],
            ),
            exists: Statement::new(
                format!("SELECT session_key FROM {t} WHERE session_key = $1"),
                &[Type::TEXT],
            ),
            list: list(&t),
            check: check(&t),
            create_table: Statement::script(table.ddl()),
            distributed: DistributedSql::new(&t),
            table: t,
        }
    }
}

const UNDER_KEYS: &str = "session_key = ANY($1)";

/// The condition that a row is live at the time in a parameter. `IS TRUE` keeps the planner off the index on
/// the date: on a table that was small when the plan was made, that index looks as good as the one on the
/// key, and the plan stays when the table has grown.
pub(super) fn live_at(time: &str) -> String {
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
fn insert(t: &str, columns: &Columns) -> Statement {
    let (names, values) = columns.insert(t, "$4");
    Statement::new(
        format!(
            "INSERT INTO {t} (session_key, session_data, expire_date{names}) VALUES ($1, $2, $3{values})"
        ),
        own_or_all(columns, 3, &[Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT]),
    )
}

fn insert_many(t: &str, columns: &Columns) -> Statement {
    let (names, values) = columns.insert(t, "texts");
    let (rows, more) = match columns.is_empty() {
        true => ("*".to_owned(), ""),
        false => (format!("key, data, date{values}"), ", $4::text[]) AS new (key, data, date, texts"),
    };
    Statement::new(
        format!(
            "INSERT INTO {t} (session_key, session_data, expire_date{names}) SELECT {rows} \
             FROM unnest($1::text[], $2::text[], $3::timestamptz[]{more})"
        ),
        own_or_all(
            columns,
            3,
            &[Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::TIMESTAMPTZ_ARRAY, Type::TEXT_ARRAY],
        ),
    )
}

/// The last parameter of a write has the texts of further columns, if there are any.
pub(super) fn own_or_all(columns: &Columns, own: usize, types: &'static [Type]) -> &'static [Type] {
    if columns.is_empty() { &types[..own] } else { types }
}

pub(super) const REPLACE: &[Type] =
    &[Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT, Type::TEXT];

const REPLACE_MANY: &[Type] = &[
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
];

/// Changes the row under $1 if it still holds $2 and is live at $3. A value of NULL keeps the stored one.
fn replace(t: &str, columns: &Columns, rename: bool) -> RowStatement {
    let (key, live) = (if rename { ", session_key = $6" } else { "" }, live_at("$3"));
    let more = columns.update(t, "$7", "$4");
    let text = format!(
        "UPDATE {t} AS s SET session_data = COALESCE($4, session_data), expire_date = $5{key}{more} \
         WHERE session_key = $1 AND session_data = $2 AND {live}"
    );
    RowStatement::new(text, own_or_all(columns, if rename { 6 } else { 5 }, REPLACE))
}

/// The same for many rows. $1 has the keys in the order of their bytes; the other arrays have what belongs to
/// each.
fn replace_many(t: &str, columns: &Columns, rename: bool) -> BatchStatement {
    let (lock, own) = if rename { ("UPDATE", 6) } else { ("NO KEY UPDATE", 5) };
    let new_key = if rename { ", session_key = new.new_key" } else { "" };
    let more = columns.update(t, "new.texts", "new.value");
    let mut arrays = vec![("$1", "key"), ("$2", "expected"), ("$4", "value"), ("$5", "expires")];
    arrays.extend(rename.then_some(("$6", "new_key")));
    arrays.extend((!columns.is_empty()).then_some(("$7", "texts")));
    let (arrays, names): (Vec<_>, Vec<_>) = arrays.into_iter().unzip();
    let (arrays, names) = (arrays.join(", "), names.join(", "));
    let change = format!(
        "UPDATE {t} AS s SET session_data = COALESCE(new.value, s.session_data), \
         expire_date = new.expires{new_key}{more} FROM unnest({arrays}) AS new ({names})"
    );
    let live = live_at("$3");
    let unchanged = format!("s.session_data = new.expected AND {live}");
    let types = own_or_all(columns, own, REPLACE_MANY);
    batch(t, lock, &change, &format!("{UNDER_KEYS} AND {live}"), &unchanged, types)
}

fn delete_many(t: &str) -> BatchStatement {
    let change = format!("DELETE FROM {t} AS s USING unnest($1) AS new (key)");
    batch(t, "UPDATE", &change, UNDER_KEYS, "true", &[Type::TEXT_ARRAY])
}

/// Locks `rows`, and changes those that are `unchanged`.
///
/// Each key is looked up in the index: an array of one key, and not the key, so that no plan reads the whole
/// table in another order. On a table that was small when the plan was made such a plan looks as good, and
/// the plan stays when the table has grown. Keys are compared again: a collation may take two keys for equal.
fn batch(
    t: &str,
    lock: &str,
    change: &str,
    rows: &str,
    unchanged: &str,
    types: &'static [Type],
) -> BatchStatement {
    let found = "s.session_key = ANY(ARRAY[new.key]) AND s.session_key::text COLLATE \"C\" = new.key";
    let key_order = format!("{change} WHERE {found} AND {unchanged} RETURNING s.session_key");
    // The keys cannot be known before all rows are locked.
    let skip_locked = format!(
        "WITH locked AS (SELECT session_key::text FROM {t} WHERE {rows} \
         ORDER BY session_key COLLATE \"C\" FOR {lock} SKIP LOCKED) \
         {change} WHERE new.key = ANY(ARRAY(SELECT session_key FROM locked)) AND {found} AND {unchanged} \
         RETURNING s.session_key"
    );
    BatchStatement {
        key_order: Statement::new(key_order, types),
        skip_locked: Statement::new(skip_locked, types),
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
