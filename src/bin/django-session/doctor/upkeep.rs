//! Size, expired rows, vacuum.

use std::time::{Duration, SystemTime};

use super::{Report, schema::Table};
use crate::{
    database::{Database, explain},
    exit::Failure,
    output::{bytes, count, counted, from_now, percent},
};

/// How long counting may take before the planner's estimate has to do.
const COUNTING: Duration = Duration::from_secs(5);

pub(super) async fn look(database: &Database, table: &Table, report: &mut Report) -> Result<(), Failure> {
    let rows = rows(database, table, report).await?;
    vacuum(database, table, rows, report).await
}

/// Tells how many rows there are, and how many of them have expired.
async fn rows(database: &Database, table: &Table, report: &mut Report) -> Result<u64, Failure> {
    let sizes = "SELECT pg_table_size($1::oid::regclass), pg_indexes_size($1::oid::regclass)";
    let sizes = database.row(sizes, &[&table.oid]).await?;
    let size = |index: usize| {
        sizes.try_get::<_, i64>(index).map_err(explain).map(|size| bytes(size.cast_unsigned()))
    };
    let condition = Database::expired();
    let (all, about) = match database.counted("true", COUNTING).await? {
        Some(all) => (all, ""),
        None => (database.expected("true").await?, "about "),
    };
    let counted_expired = match about {
        "" => database.counted(&condition, COUNTING).await?,
        _ => None,
    };
    let expired = match counted_expired {
        Some(expired) => expired,
        None => database.expected(&condition).await?.min(all),
    };
    let found = format!(
        "{about}{}, {about}{} of them expired; {} and {} of indexes",
        counted(all, "row"),
        percent(expired, all),
        size(0)?,
        size(1)?
    );
    if expired > 10_000 && expired > all / 2 {
        let advice = "run `django-session clearsessions`, and then every night";
        report.warning("size", found, advice);
    } else {
        report.ok("size", found);
    }
    Ok(all)
}

async fn vacuum(database: &Database, table: &Table, rows: u64, report: &mut Report) -> Result<(), Failure> {
    let name = &table.qualified;
    let sql = "SELECT coalesce(s.n_dead_tup, 0), greatest(s.last_autovacuum, s.last_vacuum), \
               greatest(s.last_autoanalyze, s.last_analyze), coalesce(s.n_mod_since_analyze, 0), \
               current_setting('autovacuum') = 'on' AND coalesce((SELECT option_value::bool \
               FROM pg_options_to_table(c.reloptions) WHERE option_name = 'autovacuum_enabled'), true), \
               pg_relation_size(c.oid), \
               (SELECT coalesce(sum(avg_width), 0)::float8 FROM pg_stats p JOIN pg_namespace n ON n.nspname = p.schemaname \
               WHERE n.oid = c.relnamespace AND p.tablename = c.relname) \
               FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid WHERE c.oid = $1";
    let row = database.row(sql, &[&table.oid]).await?;
    let number = |index: usize| row.try_get::<_, i64>(index).map_err(explain).map(i64::cast_unsigned);
    let time = |index: usize| row.try_get::<_, Option<SystemTime>>(index).map_err(explain);
    let (dead, changed, size) = (number(0)?, number(3)?, number(5)?);
    let last = |time: Option<SystemTime>| time.map_or_else(|| "never".to_owned(), from_now);
    let found = format!(
        "{} dead; last vacuum {}, last analyze {}",
        counted(dead, "row"),
        last(time(1)?),
        last(time(2)?)
    );
    if !row.try_get::<_, bool>(4).map_err(explain)? {
        report.problem(
            "vacuum",
            format!("autovacuum is off; {found}"),
            format!("ALTER TABLE {name} RESET (autovacuum_enabled), and autovacuum = on in postgresql.conf"),
        );
    } else if dead > 10_000 && dead > rows / 2 {
        report.warning(
            "vacuum",
            found,
            format!("VACUUM (ANALYZE) {name}; see whether an old transaction holds it up"),
        );
    } else if changed > 100_000 && changed > rows {
        report.warning("vacuum", found, format!("ANALYZE {name}: the planner knows an older table"));
    } else {
        report.ok("vacuum", found);
    }
    let width: f64 = row.try_get(6).map_err(explain)?;
    // A row's header and pointer, and what alignment takes.
    let needed = ((width + 32.0) * (rows + dead) as f64) as u64;
    if size > 100_000_000 && width > 0.0 && size > needed.saturating_mul(3) {
        report.warning(
            "bloat",
            format!("the table takes {}, and its {} rows about {}", bytes(size), count(rows), bytes(needed)),
            format!(
                "new rows fill the gaps; to give them back: pg_repack, or VACUUM FULL {name}, which locks it"
            ),
        );
    }
    Ok(())
}
