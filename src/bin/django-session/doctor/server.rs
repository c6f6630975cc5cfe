//! The server: its version and role, whether it takes writes, its clock, and our rights.

use std::time::{Duration, Instant, SystemTime};

use super::{Report, schema::Table};
use crate::{
    database::{Database, explain},
    exit::Failure,
    output::span,
};

pub(super) async fn look(database: &Database, report: &mut Report) -> Result<(), Failure> {
    let sent = Instant::now();
    let before = SystemTime::now();
    let row = database
        .row(
            "SELECT clock_timestamp(), current_setting('server_version'), current_user::text, \
             current_database()::text, pg_is_in_recovery(), current_setting('transaction_read_only') = 'on', \
             coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false), inet_server_addr() IS NULL \
             OR host(inet_server_addr()) IN ('127.0.0.1', '::1')",
            &[],
        )
        .await?;
    let took = sent.elapsed();
    let clock: SystemTime = row.try_get(0).map_err(explain)?;
    let text = |index: usize| row.try_get::<_, String>(index).map_err(explain);
    let flag = |index: usize| row.try_get::<_, bool>(index).map_err(explain);
    let (version, role, name) = (text(1)?, text(2)?, text(3)?);
    let of = format!("PostgreSQL {version}, database {name:?}, role {role:?}, answers in {}", millis(took));
    if flag(4)? || flag(5)? {
        let advice = "give the URL of the primary, and see default_transaction_read_only of the role";
        report.problem("connection", format!("{of}: it takes no writes"), advice);
    } else if !flag(6)? && !flag(7)? {
        let advice = "sessions cross the network without TLS: see that nobody else is on it";
        report.warning("connection", of, advice);
    } else {
        report.ok("connection", of);
    }
    compare_clocks(before + took / 2, clock, took, report);
    Ok(())
}

/// Ends are compared with the application's clock, here with this machine's.
fn compare_clocks(ours: SystemTime, theirs: SystemTime, uncertain: Duration, report: &mut Report) {
    let (apart, which) = match theirs.duration_since(ours) {
        Ok(ahead) => (ahead, "behind"),
        Err(behind) => (behind.duration(), "ahead of"),
    };
    let apart = apart.saturating_sub(uncertain / 2);
    let found = format!("this machine's clock is {} {which} the database's", span(apart));
    let advice = "set both by NTP: sessions end by the clock of whoever looks";
    match apart.as_secs() {
        0..2 => report.ok("clock", "this machine's and the database's agree within 2 s"),
        2..60 => report.warning("clock", found, advice),
        _ => report.problem("clock", found, advice),
    }
}

/// Whether the table may be read.
pub(super) async fn rights(database: &Database, table: &Table, report: &mut Report) -> Result<bool, Failure> {
    const RIGHTS: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];
    let mut missing = Vec::new();
    for right in RIGHTS {
        let sql = "SELECT has_table_privilege($1::oid, $2::text)";
        let may: bool = database.row(sql, &[&table.oid, &right]).await?.try_get(0).map_err(explain)?;
        if !may {
            missing.push(right);
        }
    }
    if missing.is_empty() {
        report.ok("rights", "SELECT, INSERT, UPDATE, DELETE");
    } else {
        let lacking = missing.join(", ");
        report.problem(
            "rights",
            format!("this role may not {lacking}"),
            format!("as its owner: GRANT {lacking} ON {} TO the role of the application", table.qualified),
        );
    }
    let guarded = database
        .row(
            "SELECT relrowsecurity AND NOT (SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user) \
             AND (relforcerowsecurity OR NOT pg_has_role(relowner, 'USAGE')) FROM pg_class WHERE oid = $1",
            &[&table.oid],
        )
        .await?;
    if guarded.try_get(0).map_err(explain)? {
        let advice = "see that its policies show this role every session, and let it change them";
        report.warning("rights", "row level security is on, and holds for this role", advice);
    }
    Ok(!missing.contains(&"SELECT"))
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
