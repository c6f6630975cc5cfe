//! Gives a session another key where another server may have the row of that key.

use crate::backend::{
    Action,
    postgres::{
        columns::Columns,
        error::{StatementError, unexpected_columns},
        rows::SessionRows,
        sql::{REPLACE, live_at, own_or_all},
        statement::{Retry, Statement},
        table::quote,
    },
};

/// Looks up the table's further columns, which the row takes along: they may have changed.
pub(in crate::backend::postgres) async fn rename(
    rows: &SessionRows,
    action: Action,
) -> Result<Statement, StatementError> {
    let (sql, connections) = (&rows.sql, &rows.connections);
    let found = connections.run(action, &sql.distributed.further_columns, &[&sql.table], Retry::READ).await?;
    let (mut columns, mut has_identity) = (Vec::with_capacity(found.rows.len()), false);
    for row in &found.rows {
        columns.push(quote(row.try_get(0).map_err(unexpected_columns)?));
        has_identity |= row.try_get::<_, bool>(1).map_err(unexpected_columns)?;
    }
    Ok(statement(&sql.table, &sql.columns, &columns, has_identity))
}

/// Deletes the row under $1 if it still holds $2 and is live at $3, and inserts it under $6.
fn statement(t: &str, columns: &Columns, others: &[String], has_identity: bool) -> Statement {
    let kept: String = others.iter().map(|column| format!(", {column}")).collect();
    let moved: String = columns.moved(t, others, "$7", "$4");
    let overriding = if has_identity { "OVERRIDING SYSTEM VALUE " } else { "" };
    let live = live_at("$3");
    let text = format!(
        "WITH gone AS (DELETE FROM {t} WHERE session_key = $1 AND session_data = $2 AND {live} \
         RETURNING session_data{kept}) \
         INSERT INTO {t} (session_key, session_data, expire_date{kept}) {overriding}\
         SELECT $6, COALESCE($4, s.session_data), $5{moved} FROM gone AS s"
    );
    Statement::new(text, own_or_all(columns, 6, REPLACE))
}
