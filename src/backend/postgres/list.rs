//! Lists a page of sessions.

use super::{
    distributed,
    error::unexpected_columns,
    rows::{SessionRows, entries},
    sql::PAGE_ROWS,
    statement::{Params, Retry},
};
use crate::{
    Error,
    backend::{Cursor, Page},
};

pub(super) const ACTION: &str = "list the sessions";

/// Returns the page that follows the key `after`.
pub(super) async fn page(rows: &SessionRows, after: &str) -> Result<Page, Error> {
    if rows.connections.is_distributed(ACTION).await? {
        return distributed::page(rows, after).await;
    }
    let params: &Params<'_> = &[&after, &rows.max_value_bytes];
    let found = rows.connections.run(ACTION, &rows.sql.list, params, Retry::READ).await?.rows;
    let next = match found.last() {
        Some(last) if found.len() == PAGE_ROWS || last.try_get(3).map_err(unexpected_columns)? => {
            Some(Cursor::new(last.try_get::<_, &str>(0).map_err(unexpected_columns)?))
        }
        _ => None,
    };
    Ok(Page::new(entries(&found)?, next))
}
