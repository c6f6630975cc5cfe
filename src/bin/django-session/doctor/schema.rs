//! The table: whether it is there, its columns, keys, indexes, and what hangs on it.

use super::Report;
use crate::{
    database::{Database, explain},
    exit::Failure,
    output::{bytes, count},
};

/// Rows from which a missing index hurts.
const LARGE: f64 = 100_000.0;

pub(super) struct Table {
    pub(super) oid: u32,
    /// With its schema, for SQL.
    pub(super) qualified: String,
    /// As PostgreSQL last counted them; below zero if it never did.
    pub(super) rows: f64,
}

pub(super) async fn find(database: &Database, report: &mut Report) -> Result<Option<Table>, Failure> {
    let sql = "SELECT c.oid, format('%I.%I', n.nspname, c.relname), c.reltuples::float8, c.relkind::text, \
               c.relpersistence::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.oid = to_regclass($1::text)";
    let found = database.rows(sql, &[&database.table]).await?;
    let Some(row) = found.first() else {
        missing(database, report).await?;
        return Ok(None);
    };
    let table = Table {
        oid: row.try_get(0).map_err(explain)?,
        qualified: row.try_get(1).map_err(explain)?,
        rows: row.try_get(2).map_err(explain)?,
    };
    let (kind, persistence): (String, String) =
        (row.try_get(3).map_err(explain)?, row.try_get(4).map_err(explain)?);
    let name = &table.qualified;
    match (kind.as_str(), persistence.as_str()) {
        ("r" | "p", "u") => report.warning(
            "table",
            format!("{name} is UNLOGGED: a crash of the server empties it, and replicas do not have it"),
            format!("unless that is meant: ALTER TABLE {name} SET LOGGED"),
        ),
        ("r" | "p", _) => report.ok("table", name.clone()),
        _ => report.warning(
            "table",
            format!("{name} is no ordinary table"),
            "see that it can be written like one, with locks on its rows",
        ),
    }
    Ok(Some(table))
}

async fn missing(database: &Database, report: &mut Report) -> Result<(), Failure> {
    let elsewhere = database
        .rows(
            "SELECT quote_ident(n.nspname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1",
            &[&database.name],
        )
        .await?;
    let elsewhere: Result<Vec<String>, _> = elsewhere.iter().map(|row| row.try_get(0)).collect();
    let elsewhere = elsewhere.map_err(explain)?;
    let (found, advice) = match (&database.schema, elsewhere.as_slice()) {
        (_, []) => (
            format!("there is no table {} in this database", database.table),
            "run `manage.py migrate`, or `django-session createtable`; or is it another database?".to_owned(),
        ),
        (None, schemas) => (
            format!("{} is not on the search_path, but in {}", database.table, schemas.join(", ")),
            "add ?schema=… to the URL, or set the search_path of the role".to_owned(),
        ),
        (Some(_), schemas) => (
            format!("there is no table {}, but one in {}", database.table, schemas.join(", ")),
            "give the right ?schema=… in the URL".to_owned(),
        ),
    };
    report.problem("table", found, advice);
    Ok(())
}

pub(super) async fn look(database: &Database, table: &Table, report: &mut Report) -> Result<(), Failure> {
    columns(database, table, report).await?;
    indexes(database, table, report).await?;
    attached(database, table, report).await
}

async fn columns(database: &Database, table: &Table, report: &mut Report) -> Result<(), Failure> {
    let sql = "SELECT attname::text, format_type(atttypid, atttypmod), attnotnull, atthasdef OR attidentity <> '' \
               FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
    let (mut seen, mut wrong) = (Vec::new(), false);
    for row in database.rows(sql, &[&table.oid]).await? {
        let (name, kind): (String, String) =
            (row.try_get(0).map_err(explain)?, row.try_get(1).map_err(explain)?);
        let (not_null, default): (bool, bool) =
            (row.try_get(2).map_err(explain)?, row.try_get(3).map_err(explain)?);
        let right = match name.as_str() {
            "session_key" => matches!(kind.as_str(), "character varying(40)" | "character varying" | "text"),
            "session_data" => kind == "text",
            "expire_date" => kind == "timestamp with time zone",
            _ if not_null && !default => {
                report.problem(
                    "columns",
                    format!(
                        "a column {name:?} must not be null and has no default: sessions cannot be created"
                    ),
                    format!("give it a default, or ALTER COLUMN {name:?} DROP NOT NULL"),
                );
                continue;
            }
            _ => {
                report.ok("columns", format!("a column {name:?} of the site's own, which is left alone"));
                continue;
            }
        };
        if !right {
            wrong = true;
            let django = "session_key varchar(40), session_data text, expire_date timestamptz";
            let (found, advice) = (format!("{name} is {kind}"), format!("Django makes {django}"));
            report.problem("columns", found, advice);
        }
        seen.push(name);
    }
    for column in ["session_key", "session_data", "expire_date"] {
        if !seen.iter().any(|name| name == column) {
            wrong = true;
            report.problem(
                "columns",
                format!("there is no {column}"),
                "is this the table of Django's sessions?",
            );
        }
    }
    if !wrong {
        report.ok("columns", "session_key, session_data, expire_date are of Django's types");
    }
    Ok(())
}

async fn indexes(database: &Database, table: &Table, report: &mut Report) -> Result<(), Failure> {
    let sql = "SELECT c.oid::regclass::text, i.indisunique AND i.indpred IS NULL AND i.indnkeyatts = 1, \
               i.indisvalid AND i.indisready, coalesce(a.attname::text, ''), i.indpred IS NULL, \
               coalesce(s.idx_scan, 0), pg_relation_size(c.oid), coalesce(o.opcname::text LIKE '%pattern_ops', false) \
               FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
               LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
               LEFT JOIN pg_opclass o ON o.oid = i.indclass[0] \
               LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = i.indexrelid WHERE i.indrelid = $1 ORDER BY 1";
    let (mut keyed, mut dated) = (false, false);
    for row in database.rows(sql, &[&table.oid]).await? {
        let flag = |index: usize| row.try_get::<_, bool>(index).map_err(explain);
        let (name, column): (String, String) =
            (row.try_get(0).map_err(explain)?, row.try_get(3).map_err(explain)?);
        let (scans, size): (i64, i64) = (row.try_get(5).map_err(explain)?, row.try_get(6).map_err(explain)?);
        let (size, scans) = (bytes(size.cast_unsigned()), count(scans.cast_unsigned()));
        if !flag(2)? {
            report.problem(
                "index",
                format!("{name} ({size}) is invalid: every write keeps it up, and nothing uses it"),
                format!("DROP INDEX CONCURRENTLY {name}, and make it again if it is needed"),
            );
            continue;
        }
        let whole = flag(4)?;
        if column == "session_key" && flag(1)? {
            keyed = true;
        } else if column == "session_key" && flag(7)? {
            report.note(
                "index",
                format!("{name} ({size}, {scans} scans) is Django's for LIKE, which no session needs"),
                format!("every new session pays for it, and the unique one does all: DROP INDEX CONCURRENTLY {name}"),
            );
        } else if column == "expire_date" && whole && !dated {
            dated = true;
        } else {
            report.note(
                "index",
                format!("{name} ({size}, {scans} scans) is not Django's"),
                format!("if nothing of the site's uses it: DROP INDEX CONCURRENTLY {name}"),
            );
        }
    }
    let name = &table.qualified;
    if keyed {
        report.ok("index", "session_key is unique");
    } else {
        report.problem(
            "index",
            "session_key is not unique: each load reads the whole table, and a key can be there twice",
            format!("ALTER TABLE {name} ADD PRIMARY KEY (session_key)"),
        );
    }
    if dated {
        report.ok("index", "expire_date has one");
    } else {
        let advice = format!("CREATE INDEX CONCURRENTLY ON {name} (expire_date)");
        let found = "expire_date has none: each batch of clearsessions reads the whole table";
        match table.rows > LARGE {
            true => report.problem("index", found, advice),
            false => report.warning("index", found, advice),
        }
    }
    Ok(())
}

/// Triggers, and foreign keys of other tables.
async fn attached(database: &Database, table: &Table, report: &mut Report) -> Result<(), Failure> {
    let sql = "SELECT tgname::text FROM pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal AND tgenabled <> 'D' ORDER BY 1";
    for row in database.rows(sql, &[&table.oid]).await? {
        let name: String = row.try_get(0).map_err(explain)?;
        let advice = "each save runs it: see that it is quick, and changes no session";
        report.warning("triggers", format!("there is a trigger {name:?}"), advice);
    }
    let sql = "SELECT conrelid::regclass::text, confdeltype::text FROM pg_constraint \
               WHERE confrelid = $1 AND contype = 'f' ORDER BY 1";
    for row in database.rows(sql, &[&table.oid]).await? {
        let (other, kind): (String, String) =
            (row.try_get(0).map_err(explain)?, row.try_get(1).map_err(explain)?);
        let found = format!("{other} has a foreign key to the sessions");
        match kind.as_str() {
            "c" | "n" | "d" => {
                report.note("references", found, "an ended session changes or ends rows there, too")
            }
            _ => report.problem(
                "references",
                format!("{found}, and keeps them from being ended"),
                "logging out and clearsessions fail for these: make it ON DELETE CASCADE or SET NULL",
            ),
        }
    }
    Ok(())
}
