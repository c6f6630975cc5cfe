//! Lists a page of sessions.

use super::{
    distributed,
    error::unexpected_columns,
    rows::{self, SessionRows},
    sql::PAGE_ROWS,
    statement::{Params, Retry},
};
use crate::{
    Error,
    backend::{Action, Cursor, Page},
    metrics::Purpose,
};

pub(super) const ACTION: Action = Action::new("list the sessions", Purpose::List);

/// Returns the page that follows the key `after`.
pub(super) async fn page(table: &SessionRows, after: &str) -> Result<Page, Error> {
    if table.connections.is_distributed(ACTION).await? {
        return distributed::page(table, after).await;
    }
    let params: &Params<'_> = &[&after, &table.max_value_bytes];
    let found = table.connections.run(ACTION, &table.sql.list, params, Retry::READ).await?.rows;
    let next = match found.last() {
        Some(last) if found.len() == PAGE_ROWS || last.try_get(3).map_err(unexpected_columns)? => {
            Some(Cursor::new(last.try_get::<_, &str>(0).map_err(unexpected_columns)?))
        }
        _ => None,
    };
    rows::page(&found, next)
}
