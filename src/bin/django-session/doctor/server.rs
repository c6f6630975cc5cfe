//! The server: its version, role and clock, whether it accepts writes, and the rights on the table.

use std::time::{Duration, Instant, SystemTime};

use super::{report::Report, schema::SessionTable};
use crate::{database::Database, error::Result, output::span};

pub(super) async fn check(database: &Database, report: &mut Report) -> Result<()> {
    let (sent, before) = (Instant::now(), SystemTime::now());
    let sql = "SELECT clock_timestamp(), format('PostgreSQL %s, database \"%s\", role \"%s\"', \
               current_setting('server_version'), current_database(), current_user), \
               pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on', \
               coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) \
               OR inet_server_addr() IS NULL OR host(inet_server_addr()) IN ('127.0.0.1', '::1')";
    let row = database.row(sql, &[]).await?;
    let took = sent.elapsed();
    let server: &str = row.try_get(1)?;
    let found = format!("{server}, answers in {:.1} ms", took.as_secs_f64() * 1000.0);
    let (read_only, private): (bool, bool) = (row.try_get(2)?, row.try_get(3)?);
    if read_only {
        let advice = "give the URL of the primary, and check default_transaction_read_only of the role";
        report.problem("connection", format!("{found}: it is read-only"), advice);
    } else if !private {
        let advice = "sessions cross the network without TLS: add sslmode=verify-full to the URL";
        report.warning("connection", found, advice);
    } else {
        report.ok("connection", found);
    }
    compare_clocks(before + took / 2, row.try_get(0)?, took, report);
    Ok(())
}

/// Expiry dates are compared with the application's clock; here with this machine's.
fn compare_clocks(ours: SystemTime, theirs: SystemTime, uncertainty: Duration, report: &mut Report) {
    let (difference, which) = match theirs.duration_since(ours) {
        Ok(ahead) => (ahead, "behind"),
        Err(behind) => (behind.duration(), "ahead of"),
    };
    let difference = difference.saturating_sub(uncertainty / 2);
    let found = format!("this machine's clock is {} {which} the database's", span(difference));
    let advice = "set both by NTP: sessions expire by the clock of the machine that reads them";
    match difference.as_secs() {
        0..2 => report.ok("clock", "this machine's and the database's agree within 2 s"),
        2..60 => report.warning("clock", found, advice),
        _ => report.problem("clock", found, advice),
    }
}

/// Returns whether the role may read the table.
pub(super) async fn check_rights(
    database: &Database,
    table: &SessionTable,
    report: &mut Report,
) -> Result<bool> {
    let sql = "SELECT coalesce(string_agg(r, ', ' ORDER BY n), '') \
               FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS rights(r, n) \
               WHERE NOT has_table_privilege($1::oid, r)";
    let row = database.row(sql, &[&table.oid]).await?;
    let (missing, name): (&str, _) = (row.try_get(0)?, &table.qualified);
    if missing.is_empty() {
        report.ok("rights", "SELECT, INSERT, UPDATE, DELETE");
    } else {
        report.problem(
            "rights",
            format!("the role lacks {missing}"),
            format!("as the table's owner: GRANT {missing} ON {name} TO the role of the application"),
        );
    }
    let sql = "SELECT relrowsecurity \
               AND NOT (SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user) \
               AND (relforcerowsecurity OR NOT pg_has_role(relowner, 'USAGE')) FROM pg_class WHERE oid = $1";
    if database.row(sql, &[&table.oid]).await?.try_get(0)? {
        let advice = "check that its policies let this role read and change every session";
        report.warning("rights", "row level security is on for this role", advice);
    }
    Ok(!missing.contains("SELECT"))
}
