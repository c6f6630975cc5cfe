//! The server's version: whether this crate is tested on it, and whether it still gets fixes.

use std::time::SystemTime;

use super::report::Report;
use crate::{database::Database, error::Result, output::iso};

/// Major versions that this crate is tested on, and the last day of their support, as PostgreSQL's versioning
/// policy says.
const TESTED: [(i32, &str); 6] = [
    (13, "2025-11-13"),
    (14, "2026-11-12"),
    (15, "2027-11-11"),
    (16, "2028-11-09"),
    (17, "2029-11-08"),
    (18, "2030-11-14"),
];

pub(super) async fn check(database: &Database, report: &mut Report) -> Result<()> {
    let sql = "SELECT current_setting('server_version_num')::int4 / 10000, version()";
    let row = database.row(sql, &[]).await?;
    let name: &str = row.try_get(1)?;
    if is_postgres(name) {
        judge(row.try_get(0)?, &iso(SystemTime::now())[..10], report);
    }
    Ok(())
}

/// Other engines count their versions otherwise: "CockroachDB …", "PostgreSQL 15.12-YB-…", "… Greenplum".
fn is_postgres(name: &str) -> bool {
    let mut words = name.split(' ');
    words.next() == Some("PostgreSQL")
        && words.next().is_some_and(|version| version.bytes().all(|b| b.is_ascii_digit() || b == b'.'))
        && !["Greenplum", "Redshift"].iter().any(|other| name.contains(other))
}

/// `today` and the days above compare as text.
fn judge(version: i32, today: &str, report: &mut Report) {
    let [(oldest, _), .., (newest, _)] = TESTED;
    let Some((_, last)) = TESTED.iter().find(|(tested, _)| *tested == version) else {
        match version < oldest {
            true => report.warning(
                "version",
                format!("PostgreSQL {version}: this crate is tested on {oldest} to {newest}"),
                "update the server: PostgreSQL itself no longer mends faults of this version",
            ),
            false => report.ok(
                "version",
                format!("PostgreSQL {version}, newer than {newest}, the last that this crate is tested on"),
            ),
        }
        return;
    };
    match today > *last {
        true => report.warning(
            "version",
            format!("PostgreSQL {version} has been out of support since {last}"),
            "update the server: faults of this version are no longer mended, except by some vendors",
        ),
        false => report.ok("version", format!("PostgreSQL {version}, supported until {last}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, is_postgres, judge};

    fn judged(version: i32, today: &str) -> String {
        let mut report = Report::default();
        judge(version, today, &mut report);
        report.first()
    }

    #[test]
    fn versions_without_fixes_are_named() {
        assert_eq!(judged(12, "2026-01-01"), "warning: PostgreSQL 12: this crate is tested on 13 to 18");
        assert_eq!(judged(14, "2026-11-12"), "ok: PostgreSQL 14, supported until 2026-11-12");
        assert_eq!(
            judged(14, "2026-11-13"),
            "warning: PostgreSQL 14 has been out of support since 2026-11-12"
        );
        assert_eq!(judged(18, "2030-11-15"), judged(18, "2031-01-01"));
        assert!(judged(19, "2026-11-13").starts_with("ok: PostgreSQL 19, newer than 18"));
    }

    #[test]
    fn other_engines_are_not_judged() {
        for name in [
            "PostgreSQL 18.4 on x86_64-pc-linux-gnu, compiled by gcc, 64-bit",
            "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu",
        ] {
            assert!(is_postgres(name), "{name}");
        }
        for name in [
            "CockroachDB CCL v24.1.0 (x86_64-pc-linux-gnu)",
            "PostgreSQL 15.12-YB-2025.1.0.0-b0 on x86_64-pc-linux-gnu",
            "PostgreSQL 8.0.2 on i686-pc-linux-gnu, compiled by GCC, Redshift 1.0.1",
            "PostgreSQL 12.12 (Greenplum Database 7.1.0) on x86_64-pc-linux-gnu",
        ] {
            assert!(!is_postgres(name), "{name}");
        }
    }
}
