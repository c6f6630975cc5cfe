//! Lists a page of a distributed table, without a window over all servers.

use crate::{
    Error,
    backend::{
        Cursor, Page,
        postgres::{
            error::unexpected_columns,
            list::ACTION,
            rows::{self, SessionRows},
            sql::{PAGE_BYTES, PAGE_ROWS},
            statement::{Params, Retry},
        },
    },
};

/// Returns the page that follows the key `after`.
pub(in crate::backend::postgres) async fn page(table: &SessionRows, after: &str) -> Result<Page, Error> {
    let (sql, connections) = (&table.sql.distributed, &table.connections);
    let keys = connections.run(ACTION, &sql.page_keys, &[&after], Retry::READ).await?.rows;
    let (mut last, mut bytes, mut taken) = (None, 0, 0);
    for row in &keys {
        let length: Option<i32> = row.try_get(1).map_err(unexpected_columns)?;
        last = Some(row.try_get::<_, &str>(0).map_err(unexpected_columns)?);
        taken += 1;
        let length = length.filter(|length| *length <= table.max_value_bytes).unwrap_or_default();
        bytes += length.unsigned_abs() as usize;
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    let Some(last) = last else { return rows::page(&[], None) };
    let params: &Params<'_> = &[&after, &table.max_value_bytes, &last];
    let found = connections.run(ACTION, &sql.page, params, Retry::READ).await?.rows;
    // Rows that were created meanwhile may have filled the page before its last key.
    let end = match found.last() {
        Some(row) if found.len() == PAGE_ROWS => row.try_get(0).map_err(unexpected_columns)?,
        _ => last,
    };
    let is_last = taken == keys.len() && keys.len() < PAGE_ROWS && found.len() < PAGE_ROWS;
    rows::page(&found, (!is_last).then(|| Cursor::new(end)))
}
