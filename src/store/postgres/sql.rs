//! The statements: plain SQL, one for each operation, made once for a table.

use crate::Error;

/// Django's.
pub(super) const TABLE: &str = "django_session";

/// The name of a table of sessions, with its schema if it needs one.
#[derive(Clone, Debug)]
pub(super) struct Table {
    schema: Option<String>,
    name: String,
}

impl Default for Table {
    fn default() -> Self {
        Self { schema: None, name: TABLE.to_owned() }
    }
}

impl Table {
    /// Errors if PostgreSQL could not hold such a name unshortened.
    pub(super) fn new(name: &str, schema: Option<&str>) -> Result<Self, Error> {
        for part in [Some(name), schema].into_iter().flatten() {
            if part.is_empty() || part.len() > 63 || part.contains('\0') {
                return Err(Error::configuration(format!(
                    "{part:?} cannot name a table: PostgreSQL takes 1 to 63 bytes and no NUL"
                )));
            }
        }
        Ok(Self { schema: schema.map(str::to_owned), name: name.to_owned() })
    }

    fn quoted(&self) -> String {
        let schema = self.schema.as_ref().map(|schema| quote(schema) + ".").unwrap_or_default();
        schema + &quote(&self.name)
    }
}

fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

pub(super) struct Sql {
    pub(super) load: String,
    pub(super) load_many: String,
    pub(super) create_many: String,
    pub(super) update_many: String,
    /// The same for connections of any plan.
    pub(super) update_many_locked: String,
    pub(super) rename_many: String,
    pub(super) delete_many: String,
    pub(super) create: String,
    pub(super) update: String,
    pub(super) rename: String,
    pub(super) touch: String,
    pub(super) delete: String,
    pub(super) exists: String,
    pub(super) clear_some: String,
    pub(super) page: String,
    pub(super) create_table: String,
    /// Need every right that sessions need, and change nothing.
    pub(super) check: [String; 3],
}

impl Sql {
    pub(super) fn new(table: &Table) -> Self {
        let t = table.quoted();
        let compare = "session_key = $1 AND session_data = $2 AND expire_date > $3";
        // Whoever locks several rows locks them in the order of their keys, so that no two wait for each other.
        let locked = |strength: &str| {
            format!(
                "WITH locked AS (SELECT session_key FROM {t} WHERE session_key = ANY($1) \
                 AND expire_date > $5 ORDER BY session_key COLLATE \"C\" FOR {strength}) "
            )
        };
        let batch = "s.session_key = n.key AND s.session_data = n.seen AND s.expire_date > $5";
        let update_many = |beginning: &str, end: &str| {
            format!(
                "{beginning}UPDATE {t} AS s SET session_data = n.data, expire_date = n.expires \
                 FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) AS n (key, seen, data, expires) \
                 {end} RETURNING s.session_key"
            )
        };
        Self {
            load: format!(
                "SELECT session_key, session_data, expire_date FROM {t} \
                 WHERE session_key = $1 AND expire_date > $2"
            ),
            load_many: format!(
                "SELECT session_key, session_data, expire_date FROM {t} \
                 WHERE session_key = ANY($1) AND expire_date > $2"
            ),
            // No `ON CONFLICT`: it would look for each key beforehand, and keys are random.
            create_many: format!(
                "INSERT INTO {t} (session_key, session_data, expire_date) SELECT * \
                 FROM unnest($1::text[], $2::text[], $3::timestamptz[])"
            ),
            update_many: update_many("", &format!("WHERE {batch}")),
            update_many_locked: update_many(
                &locked("NO KEY UPDATE"),
                &format!(", locked WHERE locked.session_key = n.key AND {batch}"),
            ),
            rename_many: format!(
                "{}UPDATE {t} AS s SET session_data = n.data, expire_date = n.expires, session_key = n.new_key \
                 FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $6::text[]) \
                 AS n (key, seen, data, expires, new_key), locked WHERE locked.session_key = n.key AND {batch} \
                 RETURNING n.key",
                locked("UPDATE")
            ),
            delete_many: format!(
                "DELETE FROM {t} WHERE session_key IN (SELECT session_key FROM {t} WHERE session_key = ANY($1) \
                 ORDER BY session_key COLLATE \"C\" FOR UPDATE) RETURNING session_key"
            ),
            create: format!("INSERT INTO {t} (session_key, session_data, expire_date) VALUES ($1, $2, $3)"),
            update: format!("UPDATE {t} SET session_data = $4, expire_date = $5 WHERE {compare}"),
            rename: format!(
                "UPDATE {t} SET session_data = $4, expire_date = $5, session_key = $6 WHERE {compare}"
            ),
            touch: format!(
                "UPDATE {t} SET expire_date = $3 WHERE session_key = $1 AND expire_date = $2 AND expire_date > $4"
            ),
            delete: format!("DELETE FROM {t} WHERE session_key = $1"),
            exists: format!("SELECT 1 FROM {t} WHERE session_key = $1"),
            // The lower bound spares the index what earlier batches left dead in it. Rows are found again by their date, in
            // pages that were just read, and not each by its key somewhere else in an index; `IS TRUE` has the keys looked up
            // in a hash. The outer conditions are looked at again on a row that was renewed in between.
            clear_some: format!(
                "WITH expired AS (SELECT session_key, expire_date FROM {t} \
                 WHERE expire_date < $1 AND expire_date >= COALESCE($3, '-infinity'::timestamptz) \
                 ORDER BY expire_date LIMIT $2 FOR UPDATE SKIP LOCKED), \
                 cleared AS (DELETE FROM {t} WHERE expire_date < $1 \
                 AND expire_date >= (SELECT min(expire_date) FROM expired) \
                 AND expire_date <= (SELECT max(expire_date) FROM expired) \
                 AND (session_key IN (SELECT session_key FROM expired)) IS TRUE RETURNING expire_date) \
                 SELECT count(*), max(expire_date) FROM cleared"
            ),
            page: format!(
                "SELECT session_key, session_data, expire_date FROM {t} \
                 WHERE session_key > $1 ORDER BY session_key LIMIT $2"
            ),
            create_table: create_table(table),
            check: [
                format!(
                    "INSERT INTO {t} (session_key, session_data, expire_date) \
                     SELECT session_key, session_data, expire_date FROM {t} \
                     WHERE false AND session_key = $1 AND session_data = $2"
                ),
                format!(
                    "UPDATE {t} SET session_key = $1, session_data = $2, expire_date = now() WHERE false"
                ),
                format!("DELETE FROM {t} WHERE false AND session_key = $1 AND session_data = $2"),
            ],
        }
    }
}

/// Django's DDL, one transaction by being one message. The indexes carry the names that Django computes for its own table.
fn create_table(table: &Table) -> String {
    let (t, name) = (table.quoted(), &table.name);
    let index = |suffix: &str| {
        let mut name = name.clone();
        while name.len() + suffix.len() > 63 {
            name.pop(); // PostgreSQL would cut the suffix, and then two names are one
        }
        quote(&(name + suffix))
    };
    let (like, expire_date) = (index("_session_key_c0390e0f_like"), index("_expire_date_a5c62663"));
    format!(
        "CREATE TABLE IF NOT EXISTS {t} (\"session_key\" varchar(40) NOT NULL PRIMARY KEY, \
         \"session_data\" text NOT NULL, \"expire_date\" timestamp with time zone NOT NULL); \
         CREATE INDEX IF NOT EXISTS {like} ON {t} (\"session_key\" varchar_pattern_ops); \
         CREATE INDEX IF NOT EXISTS {expire_date} ON {t} (\"expire_date\")"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_checked() {
        let table = Table::new("my \"sessions\"", Some("Accounts")).unwrap();
        assert_eq!(table.quoted(), r#""Accounts"."my ""sessions""""#);
        for bad in ["", "a\0b", &"x".repeat(64)] {
            assert!(Table::new(bad, None).unwrap_err().is_configuration());
        }
    }
}
