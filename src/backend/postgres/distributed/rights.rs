//! Checks the role's rights on a distributed table without a statement that writes.

use crate::{
    Error,
    backend::postgres::{
        check::ACTION,
        error::unexpected_columns,
        rows::SessionRows,
        statement::{Params, Retry},
    },
};

/// Errors if the table does not exist, or if the role may not do what sessions need.
pub(in crate::backend::postgres) async fn check(rows: &SessionRows) -> Result<(), Error> {
    let (sql, connections) = (&rows.sql, &rows.connections);
    let found = connections.run(ACTION, &sql.distributed.rights, &[&sql.table], Retry::READ).await?;
    let Some(row) = found.rows.first() else { return Ok(()) };
    let mut missing = Vec::new();
    for (n, right) in ["SELECT", "INSERT", "UPDATE", "DELETE"].into_iter().enumerate() {
        if !row.try_get::<_, bool>(n).map_err(unexpected_columns)? {
            missing.push(right);
        }
    }
    if !missing.is_empty() {
        let (rights, table) = (missing.join(", "), &sql.table);
        return Err(Error::store(format!(
            "cannot {ACTION}: the role has no right to it: GRANT {rights} ON {table}"
        )));
    }
    // Every server must answer, and have the columns.
    let params: &Params<'_> = &[&"", &rows.max_value_bytes, &""];
    connections.run(ACTION, &sql.distributed.page, params, Retry::READ).await?;
    Ok(())
}
