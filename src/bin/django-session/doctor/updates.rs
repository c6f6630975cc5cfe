//! How cheap saves are for PostgreSQL: the share of HOT updates, and the room in the pages for them.

use indicatif::HumanCount;

use super::{report::Report, schema::SessionTable, upkeep::PARTS};
use crate::{database::Database, error::Result, output::percent};

/// Fewer updates say little.
const ENOUGH: u64 = 10_000;

pub(super) async fn check(database: &Database, table: &SessionTable, report: &mut Report) -> Result<()> {
    // In a partitioned table, only the partitions have pages. Those on other servers are not counted here.
    let sql = format!(
        "SELECT coalesce(sum(upd), 0)::int8, coalesce(sum(hot), 0)::int8, \
         (array_agg(name ORDER BY name) FILTER (WHERE fillfactor = 100))[1], count(*) FROM (\
         SELECT s.n_tup_upd AS upd, s.n_tup_hot_upd AS hot, format('%I.%I', n.nspname, c.relname) AS name, \
         coalesce((SELECT option_value::int FROM pg_options_to_table(c.reloptions) \
         WHERE option_name = 'fillfactor'), 100) AS fillfactor \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid WHERE c.relkind = 'r' AND c.oid IN ({PARTS})\
         ) AS parts"
    );
    let row = database.row(&sql, &[&table.oid]).await?;
    let number = |index: usize| row.try_get::<_, i64>(index).map(i64::cast_unsigned);
    let (updates, hot, full, parts): (_, _, Option<&str>, _) =
        (number(0)?, number(1)?, row.try_get(2)?, number(3)?);
    if parts == 0 {
        return Ok(()); // a view, or rows that are all on other servers
    }
    let found = format!(
        "{} updates, {} of them HOT, which touch no index",
        HumanCount(updates),
        percent(hot, updates)
    );
    if updates < ENOUGH || hot > updates / 10 * 9 {
        report.ok("updates", found);
        return Ok(());
    }
    // The gains were measured by benches/hot.sh.
    let dates = "an update that moves expire_date is never HOT: Django moves it at each save, this crate \
                 rarely, unless exact_expiry is set; HOT saves take 27 % less WAL";
    // Room in the page helps only those that leave expire_date as it is.
    let advice = match full {
        Some(part) if hot > updates / 20 => {
            let others = if table.partitioned { ", and so each partition" } else { "" };
            format!(
                "{dates}. Others may have found no room in their page: ALTER TABLE {part} SET \
                 (fillfactor = 90){others}; this is for pages filled from now on, the table takes 11 % more, \
                 and saves 5 % less WAL"
            )
        }
        _ => dates.to_owned(),
    };
    report.note("updates", found, advice);
    Ok(())
}
