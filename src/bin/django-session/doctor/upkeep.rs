//! Upkeep: size, expired rows, vacuum, bloat.

use std::time::{Duration, SystemTime};

use indicatif::{DecimalBytes, HumanCount};

use super::{report::Report, schema::SessionTable};
use crate::{
    database::Database,
    error::Result,
    output::{counted, from_now, percent},
};

/// How long to count; after that the planner's estimate is shown, as "about".
const COUNTING: Duration = Duration::from_secs(5);

/// The table, and the partitions that have its rows.
pub(super) const PARTS: &str =
    "SELECT $1::oid::regclass UNION SELECT relid FROM pg_partition_tree($1::oid::regclass) WHERE isleaf";

pub(super) async fn check(database: &Database, table: &SessionTable, report: &mut Report) -> Result<()> {
    let rows = check_size(database, table, report).await?;
    check_vacuum(database, table, rows, report).await
}

/// Returns the number of rows.
async fn check_size(database: &Database, table: &SessionTable, report: &mut Report) -> Result<u64> {
    let sql = format!(
        "SELECT sum(pg_table_size(part))::int8, sum(pg_indexes_size(part))::int8 FROM ({PARTS}) AS parts (part)"
    );
    let row = database.row(&sql, &[&table.oid]).await?;
    let (size, indexes): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let (size, indexes) = (DecimalBytes(size.cast_unsigned()), DecimalBytes(indexes.cast_unsigned()));
    let condition = Database::expired();
    let exact = match database.count("true", COUNTING).await? {
        Some(all) => database.count(&condition, COUNTING).await?.map(|expired| (all, expired)),
        None => None,
    };
    let (all, expired) = match exact {
        Some(exact) => exact,
        None => (database.estimate("true").await?, database.estimate(&condition).await?),
    };
    let about = if exact.is_some() { "" } else { "about " };
    let (rows, share) = (counted(all, "row"), percent(expired.min(all), all));
    let found = format!("{about}{rows}, {about}{share} of them expired; {size} and {indexes} of indexes");
    if expired > 10_000 && expired > all / 2 {
        report.warning("size", found, "run `django-session clearsessions`, and then every night");
    } else {
        report.ok("size", found);
    }
    Ok(all)
}

async fn check_vacuum(
    database: &Database,
    table: &SessionTable,
    rows: u64,
    report: &mut Report,
) -> Result<()> {
    let name = &table.qualified;
    let sql = format!(
        "SELECT coalesce(sum(s.n_dead_tup), 0)::int8, coalesce(sum(s.n_mod_since_analyze), 0)::int8, \
         sum(pg_relation_size(c.oid))::int8, \
         max(greatest(s.last_autovacuum, s.last_vacuum)), max(greatest(s.last_autoanalyze, s.last_analyze)), \
         bool_and(current_setting('autovacuum') = 'on' AND coalesce((SELECT option_value::bool \
         FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled'), true)), \
         (SELECT coalesce(sum(avg_width), 0)::float8 FROM pg_stats p \
         JOIN pg_namespace n ON n.nspname = p.schemaname \
         JOIN pg_class t ON t.relnamespace = n.oid AND t.relname = p.tablename WHERE t.oid = $1) \
         FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid WHERE c.oid IN ({PARTS})"
    );
    let row = database.row(&sql, &[&table.oid]).await?;
    let number = |index: usize| row.try_get::<_, i64>(index).map(i64::cast_unsigned);
    let last = |index: usize| {
        let time: Result<Option<SystemTime>, _> = row.try_get(index);
        time.map(|time| time.map_or_else(|| "never".to_owned(), from_now))
    };
    let (dead, changed, size) = (number(0)?, number(1)?, number(2)?);
    let dead_rows = counted(dead, "dead row");
    let found = format!("{dead_rows}; last vacuum {}, last analyze {}", last(3)?, last(4)?);
    if !row.try_get::<_, bool>(5)? {
        let advice =
            format!("ALTER TABLE {name} RESET (autovacuum_enabled), and autovacuum = on in postgresql.conf");
        report.problem("vacuum", format!("autovacuum is off; {found}"), advice);
    } else if dead > 10_000 && dead > rows / 2 {
        let advice = format!("VACUUM (ANALYZE) {name}; check whether an old transaction prevents it");
        report.warning("vacuum", found, advice);
    } else if changed > 100_000 && changed > rows {
        report.warning("vacuum", found, format!("ANALYZE {name}: the planner's statistics are outdated"));
    } else {
        report.ok("vacuum", found);
    }
    let width: f64 = row.try_get(6)?;
    // 32 bytes for a row's header, its pointer and alignment.
    let needed = ((width + 32.0) * (rows + dead) as f64) as u64;
    if size > 100_000_000 && width > 0.0 && size > needed.saturating_mul(3) {
        let (size, needed) = (DecimalBytes(size), DecimalBytes(needed));
        report.warning(
            "bloat",
            format!("the table takes {size}, and its {} rows about {needed}", HumanCount(rows)),
            format!("new rows fill the gaps; to shrink it: pg_repack, or VACUUM FULL {name}, which locks it"),
        );
    }
    Ok(())
}
