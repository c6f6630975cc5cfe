//! The table: its columns, indexes, triggers, and foreign keys to it.

use indicatif::{DecimalBytes, HumanCount};
use tokio_postgres::Row;

use super::report::{Report, Severity};
use crate::{database::Database, error::Result};

/// Rows from which on a missing index is a problem.
const LARGE: f64 = 100_000.0;

/// The columns of Django's table, and the types that serve it.
const COLUMNS: [(&str, &[&str]); 3] = [
    ("session_key", &["character varying(40)", "character varying", "text"]),
    ("session_data", &["text"]),
    ("expire_date", &["timestamp with time zone"]),
];

pub(super) struct SessionTable {
    pub(super) oid: u32,
    /// With its schema, quoted for SQL.
    pub(super) qualified: String,
    /// The rows that PostgreSQL last counted; below zero if it never did.
    rows: f64,
}

/// Finds the table; reports what kind it is, or where there is another one.
pub(super) async fn find(database: &Database, report: &mut Report) -> Result<Option<SessionTable>> {
    let sql = "SELECT c.oid, format('%I.%I', n.nspname, c.relname), c.reltuples::float8, c.relkind::text, \
               c.relpersistence::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.oid = to_regclass($1::text)";
    let found = database.rows(sql, &[&database.table]).await?;
    let Some(row) = found.first() else {
        report_missing(database, report).await?;
        return Ok(None);
    };
    let table = SessionTable { oid: row.try_get(0)?, qualified: row.try_get(1)?, rows: row.try_get(2)? };
    let (kind, persistence, name) = (row.try_get(3)?, row.try_get(4)?, &table.qualified);
    match (kind, persistence) {
        ("r" | "p", "u") => report.warning(
            "table",
            format!("{name} is UNLOGGED: a crash of the server empties it, and replicas do not have it"),
            format!("unless that is intended: ALTER TABLE {name} SET LOGGED"),
        ),
        ("r" | "p", _) => report.ok("table", name),
        _ => report.warning(
            "table",
            format!("{name} is not an ordinary table"),
            "check that it can be written like one, with row locks",
        ),
    }
    Ok(Some(table))
}

async fn report_missing(database: &Database, report: &mut Report) -> Result<()> {
    let sql = "SELECT coalesce(string_agg(quote_ident(n.nspname), ', ' ORDER BY n.nspname), ''), \
               array_length(parse_ident($1), 1) > 1 \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relname = (parse_ident($1))[array_length(parse_ident($1), 1)] \
               AND c.relkind IN ('r', 'p', 'v', 'm', 'f')";
    let row = database.row(sql, &[&database.table]).await?;
    let (schemas, table): (&str, _) = (row.try_get(0)?, &database.table);
    let (found, advice) = match row.try_get(1)? {
        _ if schemas.is_empty() => (
            format!("there is no table {table} in this database"),
            "run `manage.py migrate`, or `django-session createtable`; or is it another database?",
        ),
        false => (
            format!("{table} is not on the search_path, but in {schemas}"),
            "add ?schema=… to the URL, or set the search_path of the role",
        ),
        true => (
            format!("there is no table {table}, but one in {schemas}"),
            "give the right ?schema=… in the URL",
        ),
    };
    report.problem("table", found, advice);
    Ok(())
}

pub(super) async fn check(database: &Database, table: &SessionTable, report: &mut Report) -> Result<()> {
    check_columns(database, table, report).await?;
    check_indexes(database, table, report).await?;
    check_triggers(database, table, report).await?;
    check_references(database, table, report).await
}

async fn check_columns(database: &Database, table: &SessionTable, report: &mut Report) -> Result<()> {
    let sql = "SELECT attname::text, format_type(atttypid, atttypmod), \
               attnotnull AND NOT (atthasdef OR attidentity <> '') \
               FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let rows = database.rows(sql, &[&table.oid]).await?;
    let columns = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)));
    let columns = columns.collect::<Result<Vec<(&str, &str, bool)>, tokio_postgres::Error>>()?;
    let mut right = true;
    for (name, types) in COLUMNS {
        match columns.iter().find(|(column, ..)| *column == name) {
            Some((_, kind, _)) if types.contains(kind) => continue,
            Some((_, kind, _)) => {
                let django = "session_key varchar(40), session_data text, expire_date timestamptz";
                report.problem("columns", format!("{name} is {kind}"), format!("Django creates {django}"));
            }
            None => {
                let advice = "is this the table of Django's sessions?";
                report.problem("columns", format!("there is no {name}"), advice);
            }
        }
        right = false;
    }
    for (name, _, required) in &columns {
        match required {
            _ if COLUMNS.iter().any(|(known, _)| known == name) => {}
            true => report.problem(
                "columns",
                format!("a column {name:?} is NOT NULL without a default: sessions cannot be created"),
                format!("give it a default, or ALTER COLUMN {name:?} DROP NOT NULL"),
            ),
            false => {
                report.ok("columns", format!("a column {name:?} of the site's own, which is left alone"))
            }
        }
    }
    if right {
        report.ok("columns", "session_key, session_data, expire_date have Django's types");
    }
    Ok(())
}

async fn check_indexes(database: &Database, table: &SessionTable, report: &mut Report) -> Result<()> {
    let sql = "SELECT c.oid::regclass::text, coalesce(s.idx_scan, 0), pg_relation_size(c.oid), \
               CASE WHEN NOT (i.indisvalid AND i.indisready) THEN 'invalid' \
               WHEN a.attname = 'session_key' AND i.indisunique AND i.indpred IS NULL AND i.indnkeyatts = 1 \
               THEN 'key' \
               WHEN a.attname = 'session_key' AND o.opcname::text LIKE '%pattern_ops' THEN 'like' \
               WHEN a.attname = 'expire_date' AND i.indpred IS NULL THEN 'date' ELSE 'other' END \
               FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
               LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
               LEFT JOIN pg_opclass o ON o.oid = i.indclass[0] \
               LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = i.indexrelid WHERE i.indrelid = $1 ORDER \
               BY 1";
    let (mut on_key, mut on_date) = (false, false);
    for row in database.rows(sql, &[&table.oid]).await? {
        match row.try_get(3)? {
            "key" => on_key = true,
            "date" if !on_date => on_date = true,
            kind => report_index(&row, kind, report)?,
        }
    }
    let name = &table.qualified;
    if on_key {
        report.ok("index", "session_key is unique");
    } else {
        let found = "session_key is not unique: every load reads the whole table, and keys can be duplicated";
        report.problem("index", found, format!("ALTER TABLE {name} ADD PRIMARY KEY (session_key)"));
    }
    if on_date {
        report.ok("index", "expire_date has an index");
    } else {
        let severity = if table.rows > LARGE { Severity::Problem } else { Severity::Warning };
        let found = "expire_date has no index: each batch of clearsessions reads the whole table";
        report.add(severity, "index", found, format!("CREATE INDEX CONCURRENTLY ON {name} (expire_date)"));
    }
    Ok(())
}

/// An index that sessions do not need.
fn report_index(row: &Row, kind: &str, report: &mut Report) -> Result<()> {
    let (name, scans, size): (&str, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let (scans, size) = (HumanCount(scans.cast_unsigned()), DecimalBytes(size.cast_unsigned()));
    match kind {
        "invalid" => report.problem(
            "index",
            format!("{name} ({size}) is invalid: every write updates it, and no query uses it"),
            format!("DROP INDEX CONCURRENTLY {name}, and create it again if it is needed"),
        ),
        "like" => report.note(
            "index",
            format!("{name} ({size}, {scans} scans) is Django's for LIKE, which sessions do not need"),
            format!("it costs every new session a write: DROP INDEX CONCURRENTLY {name}"),
        ),
        _ => report.note(
            "index",
            format!("{name} ({size}, {scans} scans) is not one of Django's"),
            format!("if the site does not use it: DROP INDEX CONCURRENTLY {name}"),
        ),
    }
    Ok(())
}

async fn check_triggers(database: &Database, table: &SessionTable, report: &mut Report) -> Result<()> {
    let sql = "SELECT tgname::text FROM pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal AND tgenabled <> \
         'D' \
               ORDER BY 1";
    for row in database.rows(sql, &[&table.oid]).await? {
        let advice = "it runs on every save: check that it is fast, and does not change sessions";
        report.warning("triggers", format!("there is a trigger {:?}", row.try_get::<_, &str>(0)?), advice);
    }
    Ok(())
}

/// Foreign keys of other tables.
async fn check_references(database: &Database, table: &SessionTable, report: &mut Report) -> Result<()> {
    let sql = "SELECT conrelid::regclass::text, confdeltype IN ('c', 'n', 'd') FROM pg_constraint \
               WHERE confrelid = $1 AND contype = 'f' ORDER BY 1";
    for row in database.rows(sql, &[&table.oid]).await? {
        let found = format!("{} has a foreign key to the sessions", row.try_get::<_, &str>(0)?);
        match row.try_get(1)? {
            true => report.note("references", found, "deleting a session also changes or deletes rows there"),
            false => report.problem(
                "references",
                format!("{found}, which forbids deleting them"),
                "logout and clearsessions fail for these sessions: make it ON DELETE CASCADE or SET NULL",
            ),
        }
    }
    Ok(())
}
