//! Checks the rights on the table and its columns: whether rows can be created, and what their times mean.

use tokio_postgres::types::Type;

use super::{
    distributed,
    error::unexpected_columns,
    rows::SessionRows,
    statement::{Params, Retry, Statement},
};
use crate::{Error, backend::Action, metrics::Purpose};

pub(super) const ACTION: Action = Action::new("check the table of sessions", Purpose::Other);

/// Errors if the role may not do what sessions need, or if the columns of the table do not serve.
pub(super) async fn table(rows: &SessionRows, mirrored: &[String]) -> Result<(), Error> {
    if rows.connections.is_distributed(ACTION).await? {
        distributed::check(rows).await?;
    } else {
        for statement in &rows.sql.check {
            rows.connections.run(ACTION, statement, &[&"", &""], Retry::READ).await?;
        }
    }
    columns(rows, mirrored).await
}

/// Returns an error that says what to do if a further column needs a value, or if the times of a column
/// without a zone would not be in UTC, as Django's are.
async fn columns(rows: &SessionRows, mirrored: &[String]) -> Result<(), Error> {
    let params: &Params<'_> = &[&rows.sql.table, &mirrored];
    let found = rows.connections.run(ACTION, &look_up(), params, Retry::READ).await?;
    let Some(row) = found.rows.first() else { return Ok(()) };
    let error = |text: String| Err(Error::store(format!("cannot {ACTION}: {text}")));
    let required: Option<&str> = row.try_get(0).map_err(unexpected_columns)?;
    if let Some(columns) = required {
        return error(format!(
            "it has further columns that are NOT NULL without a default ({columns}), so no session can be \
             created: give them defaults, or values by Postgres::column"
        ));
    }
    let zone: Option<&str> = row.try_get(1).map_err(unexpected_columns)?;
    if let Some(zone) = zone {
        return error(format!(
            "its expire_date has no time zone, and the connection's TimeZone is {zone}: make it timestamp \
             with time zone, or set TimeZone to UTC for the role"
        ));
    }
    Ok(())
}

/// A trigger may give a value to a column that has no default.
fn look_up() -> Statement {
    let text = "SELECT string_agg(quote_ident(a.attname), ', ') FILTER (WHERE a.attnotnull \
         AND a.attname NOT IN ('session_key', 'session_data', 'expire_date') AND NOT a.attname = ANY($2) \
         AND NOT a.atthasdef AND a.attidentity = '' AND t.typdefault IS NULL \
         AND NOT EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgrelid = a.attrelid AND NOT g.tgisinternal \
         AND g.tgtype & 6 = 6)), \
         CASE WHEN bool_or(a.attname = 'expire_date' AND a.atttypid = 'timestamp'::regtype) \
         AND current_setting('TimeZone') NOT IN ('UTC', 'Etc/UTC', 'GMT', 'Etc/GMT', 'Zulu', 'Etc/Zulu') \
         THEN current_setting('TimeZone') END \
         FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid \
         WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped";
    Statement::new(text, &[Type::TEXT, Type::TEXT_ARRAY])
}
