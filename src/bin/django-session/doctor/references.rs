//! Foreign keys of other tables to the sessions: whether sessions can be deleted and get new keys.

use super::{report::Report, schema::SessionTable};
use crate::{database::Database, error::Result};

/// A logout deletes the row, and a new key (at login) updates it. The actions are letters as in
/// `pg_constraint`: c is CASCADE, n is SET NULL, d is SET DEFAULT; others forbid the change.
pub(super) async fn check(database: &Database, table: &SessionTable, report: &mut Report) -> Result<()> {
    // Of a partitioned table, constraints of the whole alone, and those that refer to one partition. Since
    // PostgreSQL 18 some are NOT ENFORCED, which forbid and change nothing; older versions lack the column.
    let sql = "SELECT format('%s (%s)', c.conrelid::regclass, k.own), c.confdeltype::text, \
               c.confupdtype::text, k.nullable, k.has_key, \
               format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I FOREIGN KEY (%s) \
               REFERENCES %s (%s)', \
               c.conrelid::regclass, c.conname, c.conname, k.own, c.confrelid::regclass, k.other), \
               CASE WHEN c.condeferrable THEN ' DEFERRABLE' ELSE '' END \
               || CASE WHEN c.condeferred THEN ' INITIALLY DEFERRED' ELSE '' END \
               FROM pg_constraint c CROSS JOIN LATERAL ( \
               SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY n) AS own, \
               string_agg(quote_ident(b.attname), ', ' ORDER BY n) AS other, \
               bool_and(NOT a.attnotnull) AS nullable, bool_or(b.attname = 'session_key') AS has_key \
               FROM unnest(c.conkey, c.confkey) WITH ORDINALITY AS pair (own, other, n) \
               JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = pair.own \
               JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = pair.other) AS k \
               WHERE c.contype = 'f' AND c.conparentid = 0 \
               AND to_jsonb(c) -> 'conenforced' IS DISTINCT FROM 'false' \
               AND c.confrelid IN (SELECT $1::oid::regclass \
               UNION ALL SELECT relid FROM pg_partition_tree($1::oid::regclass)) ORDER BY 1, c.conname";
    for row in database.rows(sql, &[&table.oid]).await? {
        let (from, on_delete, on_update): (&str, &str, &str) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (nullable, has_key, alter, tail): (bool, bool, &str, &str) =
            (row.try_get(3)?, row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
        let deletes = match on_delete {
            "c" | "d" => true,
            "n" => nullable,
            _ => false,
        };
        let updates = !has_key || on_update == "c";
        let wanted = match on_delete {
            "n" if nullable => "SET NULL",
            "d" => "SET DEFAULT",
            _ => "CASCADE",
        };
        let mend = format!("{alter} ON UPDATE CASCADE ON DELETE {wanted}{tail}");
        let found = format!("{from} has a foreign key to the sessions");
        let both = "logout, clearsessions and new keys (at login) fail for those that it names";
        match (deletes, updates) {
            (true, true) => {
                report.note("references", found, "deleting a session also changes or deletes rows there");
            }
            (true, false) if (on_update == "n" && nullable) || on_update == "d" => report.warning(
                "references",
                format!("{found}, and loses its session when that gets a new key (at login)"),
                mend,
            ),
            (true, false) => report.problem(
                "references",
                format!(
                    "{found} without ON UPDATE CASCADE: new keys (at login) fail for those that it names"
                ),
                mend,
            ),
            (false, true) => report.problem(
                "references",
                format!(
                    "{found}, which forbids deleting them: logout and clearsessions fail for those that it \
                     names"
                ),
                mend,
            ),
            (false, false) => {
                report.problem("references", format!("{found}, which forbids changing them: {both}"), mend);
            }
        }
    }
    Ok(())
}
