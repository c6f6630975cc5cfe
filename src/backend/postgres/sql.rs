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

/// A statement that changes many rows. It locks them in one order, so that two of them do not wait for each other.
pub(super) struct Many {
    /// For our own connections, which lock them in the order of an index on the key. That differs from the other's where a
    /// collation sorts letters and digits otherwise than their bytes: then `lock_timeout` ends the wait, and each row is
    /// asked for by itself.
    pub(super) own: Statement,
    /// For connections whose plans may be any: locks them beforehand.
    pub(super) any: Statement,
}

pub(super) struct Sql {
    pub(super) load: Statement,
    pub(super) load_many: Statement,
    pub(super) create: Statement,
    pub(super) create_many: Statement,
    pub(super) update: Statement,
    pub(super) update_many: Many,
    pub(super) rename: Statement,
    pub(super) rename_many: Many,
    pub(super) touch: Statement,
    pub(super) delete: Statement,
    pub(super) delete_many: Many,
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
            update: replace(&t, false),
            update_many: replace_many(&t, false),
            rename: replace(&t, true),
            rename_many: replace_many(&t, true),
            touch: Statement {
                text: format!(
                    "UPDATE {t} SET expire_date = $3 \
                     WHERE session_key = $1 AND (expire_date = $2 AND expire_date > $4) IS TRUE"
                ),
                types: &[Type::TEXT, Type::TIMESTAMPTZ, Type::TIMESTAMPTZ, Type::TIMESTAMPTZ],
            },
            delete: Statement { text: format!("DELETE FROM {t} WHERE session_key = $1"), types: KEY },
            delete_many: many(&t, "UPDATE", &format!("DELETE FROM {t}"), UNDER_KEYS, "true", KEYS),
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

/// What is under one of the keys in $1.
const UNDER_KEYS: &str = "session_key = ANY($1)";

/// That a session lives at the time in a parameter. `IS TRUE` keeps the index on the date out of it (as in `touch`): on a table
/// that was small when a plan was made, that index looks as good as the one on the key, and the plan stays when the table
/// has grown.
fn lives_at(time: &str) -> String {
    format!("(expire_date > {time}) IS TRUE")
}

fn load(t: &str) -> Statement {
    let (text, lives) = (unless_larger_than("$3"), lives_at("$2"));
    Statement {
        text: format!("SELECT session_key, {text}, expire_date FROM {t} WHERE session_key = $1 AND {lives}"),
        types: &[Type::TEXT, Type::TIMESTAMPTZ, Type::INT4],
    }
}

fn load_many(t: &str) -> Statement {
    let (text, lives) = (unless_larger_than(&LARGE.to_string()), lives_at("$2"));
    Statement {
        text: format!("SELECT session_key, {text}, expire_date FROM {t} WHERE {UNDER_KEYS} AND {lives}"),
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

/// The row under $1, if it still holds $2 and has not ended at $3.
fn replace(t: &str, rename: bool) -> Statement {
    let (key, lives) = (if rename { ", session_key = $6" } else { "" }, lives_at("$3"));
    Statement {
        text: format!(
            "UPDATE {t} SET session_data = $4, expire_date = $5{key} \
             WHERE session_key = $1 AND session_data = $2 AND {lives}"
        ),
        types: if rename { REPLACE } else { &REPLACE[..5] },
    }
}

/// The same of many rows: the keys, in the order of their bytes, and in the other arrays what belongs to each. Each row looks
/// for its own place in them: a join costs more, and has plans that read the whole table.
fn replace_many(t: &str, rename: bool) -> Many {
    let key = "session_key::text COLLATE \"C\"";
    let of_this_row = |array: &str| format!("({array})[width_bucket({key}, $1)]");
    let new_key = if rename { format!(", session_key = {}", of_this_row("$6")) } else { String::new() };
    let update = format!(
        "UPDATE {t} SET session_data = {}, expire_date = {}{new_key}",
        of_this_row("$4"),
        of_this_row("$5")
    );
    let lives = lives_at("$3");
    // The place is another key's if a collation takes two keys for the same.
    let as_seen = format!("{key} = {} AND session_data = {}", of_this_row("$1"), of_this_row("$2"));
    let (lock, types) = if rename { ("UPDATE", REPLACE_MANY) } else { ("NO KEY UPDATE", &REPLACE_MANY[..5]) };
    many(t, lock, &update, &format!("{UNDER_KEYS} AND {lives}"), &as_seen, types)
}

/// `rows` are locked, and of these those changed that are `as_seen`.
fn many(t: &str, lock: &str, change: &str, rows: &str, as_seen: &str, types: &'static [Type]) -> Many {
    let own = format!("{change} WHERE {rows} AND {as_seen} RETURNING session_key");
    // To count them, all must have been locked before the first is changed.
    let any = format!(
        "WITH locked AS (SELECT 1 FROM {t} WHERE {rows} ORDER BY session_key COLLATE \"C\" FOR {lock}) \
         {change} WHERE {rows} AND {as_seen} AND (SELECT count(*) FROM locked) > 0 RETURNING session_key"
    );
    Many { own: Statement { text: own, types }, any: Statement { text: any, types } }
}

/// The lower bound spares the index what earlier batches left dead in it. Rows are found again by their date, in pages that
/// were just read, and not each by its key somewhere else in an index: `IS TRUE` has the keys looked up in a hash. The
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
