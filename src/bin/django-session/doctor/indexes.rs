//! The table's indexes: those that sessions need, and those that cost without use.

use indicatif::{DecimalBytes, HumanCount};

use super::{
    report::{Report, Severity},
    schema::SessionTable,
};
use crate::{database::Database, error::Result};

/// Rows from which on a missing index is a problem.
const LARGE: f64 = 100_000.0;

struct Index<'a> {
    name: &'a str,
    /// Size and use.
    figures: String,
    /// The primary key or a unique constraint that it belongs to, if it does.
    constraint: Option<&'a str>,
    /// The index of the partitioned table that it is a part of, if it is.
    parent: Option<&'a str>,
}

pub(super) async fn check(database: &Database, table: &SessionTable, report: &mut Report) -> Result<()> {
    let sql = "SELECT c.oid::regclass::text, coalesce(s.idx_scan, 0), pg_relation_size(c.oid), \
               CASE WHEN NOT (i.indisvalid AND i.indisready) THEN 'invalid' \
               WHEN a.attname = 'session_key' AND i.indisunique AND i.indpred IS NULL \
               THEN CASE WHEN i.indnkeyatts = 1 THEN 'key' ELSE 'wide key' END \
               WHEN a.attname = 'session_key' AND o.opcname::text LIKE '%pattern_ops' THEN 'like' \
               WHEN a.attname = 'expire_date' AND i.indpred IS NULL THEN 'date' ELSE 'other' END, \
               k.conname::text, h.inhparent::regclass::text \
               FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid \
               LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] \
               LEFT JOIN pg_opclass o ON o.oid = i.indclass[0] \
               LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x') \
               LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid \
               LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = i.indexrelid WHERE i.indrelid = $1 \
               ORDER BY 4, 1";
    let (mut on_key, mut wide, mut on_date, mut like) = (false, None, false, Vec::new());
    let rows = database.rows(sql, &[&table.oid]).await?;
    for row in &rows {
        let (scans, size): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
        let (scans, size) = (HumanCount(scans.cast_unsigned()), DecimalBytes(size.cast_unsigned()));
        let kind = row.try_get(3)?;
        let figures = if kind == "invalid" { size.to_string() } else { format!("{size}, {scans} scans") };
        let index =
            Index { name: row.try_get(0)?, figures, constraint: row.try_get(4)?, parent: row.try_get(5)? };
        match kind {
            "key" => on_key = true,
            "wide key" if wide.is_none() => wide = Some(index.name),
            "date" if !on_date => on_date = true,
            "like" => like.push(index),
            kind => index.report(kind, table, report),
        }
    }
    for index in like {
        index.report(if on_key || wide.is_some() { "like" } else { "like, used by loads" }, table, report);
    }
    report_key(on_key, wide, table, report);
    if on_date {
        report.ok("index", "expire_date has an index");
    } else {
        let severity = if table.rows > LARGE { Severity::Problem } else { Severity::Warning };
        let found = "expire_date has no index: each batch of clearsessions reads the whole table";
        report.add(severity, "index", found, table.create_index("", "expire_date"));
    }
    Ok(())
}

fn report_key(on_key: bool, wide: Option<&str>, table: &SessionTable, report: &mut Report) {
    match wide {
        _ if on_key => report.ok("index", "session_key is unique"),
        // A unique index of a partitioned table must contain the columns that choose the partition. Keys are
        // random, so they are unique all the same.
        Some(name) if table.partitioned => {
            report.ok("index", format!("session_key begins the unique index {name}"));
        }
        Some(name) => report.warning(
            "index",
            format!("session_key begins the unique index {name}, but is not unique by itself"),
            table.create_index("UNIQUE ", "session_key"),
        ),
        None => report.problem(
            "index",
            "session_key is not unique: every load reads the whole table, and keys can be duplicated",
            match table.partitioned {
                true => format!(
                    "{}; add the columns of the partition key if PostgreSQL wants them",
                    table.create_index("UNIQUE ", "session_key")
                ),
                false => table.create_index("UNIQUE ", "session_key"),
            },
        ),
    }
}

impl SessionTable {
    /// PostgreSQL cannot create or drop indexes of a partitioned table concurrently.
    fn concurrently(&self) -> &'static str {
        if self.partitioned { "" } else { "CONCURRENTLY " }
    }

    fn create_index(&self, unique: &str, column: &str) -> String {
        format!("CREATE {unique}INDEX {}ON {} ({column})", self.concurrently(), self.qualified)
    }
}

impl Index<'_> {
    /// Reports an index that sessions do not need.
    fn report(&self, kind: &str, table: &SessionTable, report: &mut Report) {
        let Self { name, figures, constraint, parent } = self;
        let drop = match (constraint, parent) {
            (_, Some(parent)) => format!("it is a part of {parent}, the index of the partitioned table"),
            (Some(constraint), _) => {
                format!("ALTER TABLE {} DROP CONSTRAINT {constraint:?}", table.qualified)
            }
            _ => format!("DROP INDEX {}{name}", table.concurrently()),
        };
        match kind {
            "invalid" if table.partitioned => report.problem(
                "index",
                format!("{name} is invalid: some partitions have no such index"),
                format!("create it there, and ALTER INDEX {name} ATTACH PARTITION each of these"),
            ),
            "invalid" => report.problem(
                "index",
                format!("{name} ({figures}) is invalid: every write updates it, and no query uses it"),
                format!("{drop}, and create it again if it is needed"),
            ),
            "like, used by loads" => report.ok(
                "index",
                format!("{name} ({figures}) is for LIKE, but loads use it until session_key is unique"),
            ),
            "like" => report.note(
                "index",
                format!("{name} ({figures}) is Django's for LIKE, which sessions do not need"),
                // Measured by benches/hot.sh.
                format!(
                    "new sessions and saves that are not HOT write to it; without it a save takes 11 % less \
                     WAL, or 3 to 4 % if most are HOT: {drop}"
                ),
            ),
            _ if constraint.is_some() || parent.is_some() => {
                report.ok("index", format!("{name} ({figures}) is not one of Django's"));
            }
            _ => report.note(
                "index",
                format!("{name} ({figures}) is not one of Django's"),
                format!("if the site does not use it: {drop}"),
            ),
        }
    }
}
