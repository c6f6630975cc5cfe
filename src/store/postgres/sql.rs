//! The statements: plain SQL, one for each operation, made once for a table.

use tokio_postgres::types::Type;

use super::table::Table;

/// A statement with the types of its parameters: a pooler that has another connection for each statement leaves no time
/// to ask the database for them.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) types: &'static [Type],
}

const KEY: &[Type] = &[Type::TEXT];
const KEYS: &[Type] = &[Type::TEXT_ARRAY];
const TWO_TEXTS: &[Type] = &[Type::TEXT, Type::TEXT];

/// Texts longer than this are loaded one by one: so that of many that are loaded at once nobody waits for a large one,
/// nor is memory needed for many of them.
const LARGE: usize = 64 * 1024;

pub(super) struct Sql {
    pub(super) load: Statement,
    pub(super) load_many: Statement,
    pub(super) create: Statement,
    pub(super) create_many: Statement,
    pub(super) update: Statement,
    pub(super) update_many: Statement,
    /// The same for connections of any plan.
    pub(super) update_many_locked: Statement,
    pub(super) rename: Statement,
    pub(super) rename_many: Statement,
    pub(super) touch: Statement,
    pub(super) delete: Statement,
    pub(super) delete_many: Statement,
    pub(super) exists: Statement,
    pub(super) clear_some: Statement,
    pub(super) page: Statement,
    /// Need every right that sessions need, and change nothing.
    pub(super) check: [Statement; 3],
    pub(super) create_table: String,
}

impl Sql {
    pub(super) fn new(table: &Table) -> Self {
        let t = table.quoted();
        Self {
            load: load(&t),
            load_many: load_many(&t),
            create: create(&t),
            create_many: create_many(&t),
            update: replace(&t, ""),
            update_many: update_many(&t, "", ""),
            update_many_locked: update_many(
                &t,
                &locked(&t, "NO KEY UPDATE"),
                ", locked WHERE locked.session_key = n.key AND",
            ),
            rename: replace(&t, ", session_key = $6"),
            rename_many: rename_many(&t),
            touch: Statement {
                text: format!(
                    "UPDATE {t} SET expire_date = $3 \
                     WHERE session_key = $1 AND expire_date = $2 AND expire_date > $4"
                ),
                types: &[Type::TEXT, Type::TIMESTAMPTZ, Type::TIMESTAMPTZ, Type::TIMESTAMPTZ],
            },
            delete: Statement { text: format!("DELETE FROM {t} WHERE session_key = $1"), types: KEY },
            delete_many: Statement {
                text: format!(
                    "DELETE FROM {t} WHERE session_key IN (SELECT session_key FROM {t} \
                     WHERE session_key = ANY($1) ORDER BY session_key COLLATE \"C\" FOR UPDATE) \
                     RETURNING session_key"
                ),
                types: KEYS,
            },
            exists: Statement { text: format!("SELECT 1 FROM {t} WHERE session_key = $1"), types: KEY },
            clear_some: clear_some(&t),
            page: Statement {
                text: format!(
                    "SELECT session_key, {}, expire_date FROM {t} \
                     WHERE session_key > $1 ORDER BY session_key LIMIT $2",
                    unless_larger_than("$3")
                ),
                types: &[Type::TEXT, Type::INT8, Type::INT4],
            },
            check: check(&t),
            create_table: table.ddl(),
        }
    }
}

fn unless_larger_than(bytes: &str) -> String {
    format!("CASE WHEN octet_length(session_data) <= {bytes} THEN session_data END")
}

fn load(t: &str) -> Statement {
    let text = unless_larger_than("$3");
    Statement {
        text: format!(
            "SELECT session_key, {text}, expire_date FROM {t} WHERE session_key = $1 AND expire_date > $2"
        ),
        types: &[Type::TEXT, Type::TIMESTAMPTZ, Type::INT4],
    }
}

fn load_many(t: &str) -> Statement {
    let text = unless_larger_than(&LARGE.to_string());
    Statement {
        text: format!(
            "SELECT session_key, {text}, expire_date FROM {t} WHERE session_key = ANY($1) AND expire_date > $2"
        ),
        types: &[Type::TEXT_ARRAY, Type::TIMESTAMPTZ],
    }
}

fn create(t: &str) -> Statement {
    Statement {
        text: format!("INSERT INTO {t} (session_key, session_data, expire_date) VALUES ($1, $2, $3)"),
        types: &[Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ],
    }
}

/// Without `ON CONFLICT`, which would look for each key beforehand, and keys are random.
fn create_many(t: &str) -> Statement {
    Statement {
        text: format!(
            "INSERT INTO {t} (session_key, session_data, expire_date) SELECT * \
             FROM unnest($1::text[], $2::text[], $3::timestamptz[])"
        ),
        types: &[Type::TEXT_ARRAY, Type::TEXT_ARRAY, Type::TIMESTAMPTZ_ARRAY],
    }
}

/// The row under $1, if it still holds $2 and has not ended at $3.
fn replace(t: &str, key: &str) -> Statement {
    const TYPES: &[Type] =
        &[Type::TEXT, Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT, Type::TIMESTAMPTZ, Type::TEXT];
    Statement {
        text: format!(
            "UPDATE {t} SET session_data = $4, expire_date = $5{key} \
             WHERE session_key = $1 AND session_data = $2 AND expire_date > $3"
        ),
        types: if key.is_empty() { &TYPES[..5] } else { TYPES },
    }
}

const MANY: &[Type] = &[
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TEXT_ARRAY,
    Type::TIMESTAMPTZ_ARRAY,
    Type::TIMESTAMPTZ,
    Type::TEXT_ARRAY,
];

/// What rows of a batch must be for it to change them.
const AS_SEEN: &str = "s.session_key = n.key AND s.session_data = n.seen AND s.expire_date > $5";

/// Whoever locks several rows locks them in the order of their keys, so that no two wait for each other.
fn locked(t: &str, strength: &str) -> String {
    format!(
        "WITH locked AS (SELECT session_key FROM {t} WHERE session_key = ANY($1) \
         AND expire_date > $5 ORDER BY session_key COLLATE \"C\" FOR {strength}) "
    )
}

fn update_many(t: &str, beginning: &str, locked: &str) -> Statement {
    let condition = if locked.is_empty() { "WHERE" } else { locked };
    Statement {
        text: format!(
            "{beginning}UPDATE {t} AS s SET session_data = n.data, expire_date = n.expires \
             FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS n (key, seen, data, expires) \
             {condition} {AS_SEEN} RETURNING s.session_key"
        ),
        types: &MANY[..5],
    }
}

fn rename_many(t: &str) -> Statement {
    Statement {
        text: format!(
            "{}UPDATE {t} AS s SET session_data = n.data, expire_date = n.expires, session_key = n.new_key \
             FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $6::text[]) \
             AS n (key, seen, data, expires, new_key), locked WHERE locked.session_key = n.key AND {AS_SEEN} \
             RETURNING n.key",
            locked(t, "UPDATE")
        ),
        types: MANY,
    }
}

/// The lower bound spares the index what earlier batches left dead in it. Rows are found again by their date, in pages that
/// were just read, and not each by its key somewhere else in an index; `IS TRUE` has the keys looked up in a hash. The
/// outer conditions are looked at again on a row that was renewed in between.
fn clear_some(t: &str) -> Statement {
    Statement {
        text: format!(
            "WITH expired AS (SELECT session_key, expire_date FROM {t} \
             WHERE expire_date < $1 AND expire_date >= COALESCE($3, '-infinity'::timestamptz) \
             ORDER BY expire_date LIMIT $2 FOR UPDATE SKIP LOCKED), \
             cleared AS (DELETE FROM {t} WHERE expire_date < $1 \
             AND expire_date >= (SELECT min(expire_date) FROM expired) \
             AND expire_date <= (SELECT max(expire_date) FROM expired) \
             AND (session_key IN (SELECT session_key FROM expired)) IS TRUE RETURNING expire_date) \
             SELECT count(*), max(expire_date) FROM cleared"
        ),
        types: &[Type::TIMESTAMPTZ, Type::INT8, Type::TIMESTAMPTZ],
    }
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
    .map(|text| Statement { text, types: TWO_TEXTS })
}
