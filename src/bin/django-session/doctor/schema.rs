//! The table: its kind, columns and triggers.

use super::{indexes, references, report::Report};
use crate::{database::Database, error::Result};

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
    pub(super) rows: f64,
    /// Whether the rows are in partitions.
    pub(super) partitioned: bool,
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
    let (kind, persistence) = (row.try_get(3)?, row.try_get(4)?);
    let table = SessionTable {
        oid: row.try_get(0)?,
        qualified: row.try_get(1)?,
        rows: row.try_get(2)?,
        partitioned: kind == "p",
    };
    let name = &table.qualified;
    match (kind, persistence) {
        ("r" | "p", "u") => report.warning(
            "table",
            format!("{name} is UNLOGGED: a crash of the server empties it, and replicas do not have it"),
            format!("unless that is intended: ALTER TABLE {name} SET LOGGED"),
        ),
        ("p", _) => report.ok("table", format!("{name}, partitioned")),
        ("r", _) => report.ok("table", name),
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
    indexes::check(database, table, report).await?;
    check_triggers(database, table, report).await?;
    references::check(database, table, report).await
}

async fn check_columns(database: &Database, table: &SessionTable, report: &mut Report) -> Result<()> {
    let sql = "SELECT attname::text, format_type(atttypid, atttypmod), \
               attnotnull AND NOT (atthasdef OR attidentity <> '' OR typdefault IS NOT NULL) \
               AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = attrelid AND NOT tgisinternal \
               AND tgtype & 6 = 6) \
               FROM pg_attribute JOIN pg_type t ON t.oid = atttypid \
               WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let rows = database.rows(sql, &[&table.oid]).await?;
    let columns = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)));
    let columns = columns.collect::<Result<Vec<(&str, &str, bool)>, tokio_postgres::Error>>()?;
    let mut right = true;
    for (name, types) in COLUMNS {
        match columns.iter().find(|(column, ..)| *column == name) {
            Some((_, kind, _)) if types.contains(kind) => continue,
            Some((_, kind @ "timestamp without time zone", _)) => {
                let advice = format!(
                    "its times are UTC, if Django wrote them: ALTER TABLE {} ALTER COLUMN {name} \
                     TYPE timestamp with time zone USING {name} AT TIME ZONE 'UTC'",
                    table.qualified
                );
                report.problem("columns", format!("{name} is {kind}"), advice);
            }
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
                format!(
                    "give it a default, or ALTER TABLE {} ALTER COLUMN {name:?} DROP NOT NULL",
                    table.qualified
                ),
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
