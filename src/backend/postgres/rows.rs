//! Reads rows, and chooses the statements that write them. Values are bytes here and text in the table.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use bytes::Bytes;
use tokio_postgres::Row as PgRow;

use super::{
    batch::Attempt,
    distributed::Place,
    error::{StatementError, unexpected_columns},
    pool::Connections,
    sql::{BatchStatement, RowStatement, Sql},
    statement::{Params, Retry, Statement},
};
use crate::{
    Error, SessionKey,
    backend::{Action, Cursor, Page, Row},
    metrics::Purpose,
};

/// Longer values are read one by one: no request of a batch waits for a large one, and memory is not needed
/// for many.
const LARGE: i32 = 64 * 1024;

/// Returns a value as the text column takes it.
pub(super) fn text(value: Bytes) -> Result<String, Error> {
    String::from_utf8(value.into()).map_err(|_| {
        Error::value(
            "the value is not UTF-8, and the table holds text: give the store a SecretKey or a signing \
             Codec, not Codec::unsigned",
        )
    })
}

/// The table of sessions over the connections of one runtime.
#[derive(Clone)]
pub(super) struct SessionRows {
    pub(super) connections: Connections,
    pub(super) sql: Arc<Sql>,
    pub(super) max_value_bytes: i32,
}

const GET: Action = Action::new("load a session", Purpose::Load);

impl SessionRows {
    /// Returns the row under this key that is live at this time.
    pub(super) async fn one(
        &self,
        key: &SessionKey,
        time: SystemTime,
    ) -> Result<Option<Row>, StatementError> {
        let params: &Params<'_> = &[&key.as_str(), &time, &self.max_value_bytes];
        let found = self.connections.run(GET, &self.sql.get, params, Retry::READ).await?;
        Ok(found.rows.first().map(read).transpose()?)
    }

    /// Returns the rows under these keys that are live at this time; large ones without their value.
    pub(super) async fn many(
        &self,
        keys: &[&SessionKey],
        time: SystemTime,
    ) -> Result<Vec<Option<Row>>, StatementError> {
        let keys: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        let params: &Params<'_> = &[&keys, &time, &self.max_value_bytes.min(LARGE)];
        let found = self.connections.run(GET, &self.sql.get_many, params, Retry::READ).await?;
        let mut rows = HashMap::with_capacity(found.rows.len());
        for row in &found.rows {
            rows.insert(row.try_get::<_, &str>(0).map_err(unexpected_columns)?, read(row)?);
        }
        Ok(keys.iter().map(|key| rows.get(key).cloned()).collect())
    }

    pub(super) async fn exists(&self, key: &SessionKey) -> Result<bool, StatementError> {
        let params: &Params<'_> = &[&key.as_str()];
        let found = self
            .connections
            .run(Action::new("look up a session", Purpose::Load), &self.sql.exists, params, Retry::READ)
            .await?;
        Ok(!found.rows.is_empty())
    }

    /// Whether a batch leaves out rows that are locked. Connections without `lock_timeout` always do.
    pub(super) fn skips_locked(&self, requested: bool) -> bool {
        requested || !self.connections.have_settings()
    }

    pub(super) fn choose<'a>(&self, statement: &'a BatchStatement, skip_locked: bool) -> &'a Statement {
        match self.skips_locked(skip_locked) {
            true => &statement.skip_locked,
            false => &statement.key_order,
        }
    }

    /// The parameters without the texts of further columns, if there are none.
    pub(super) fn own_or_all<'a>(&self, params: &'a Params<'a>, own: usize) -> &'a Params<'a> {
        if self.sql.columns.is_empty() { &params[..own] } else { params }
    }

    /// The statement that waits for a lock as long as this attempt may.
    pub(super) fn waiting<'a>(&self, statement: &'a RowStatement, attempt: Attempt) -> &'a Statement {
        match attempt.wait_longer {
            // Of another server, the setting counts that it has itself.
            true if self.connections.engine.place() != Place::Distributed => &statement.wait_longer,
            _ if self.connections.have_settings() => &statement.plain,
            _ => &statement.wait_shortly,
        }
    }
}

/// Reads the rows of a page: `session_key, session_data, expire_date`.
pub(super) fn page(rows: &[PgRow], next: Option<Cursor>) -> Result<Page, Error> {
    let mut entries = Vec::with_capacity(rows.len());
    for row in rows {
        let key: &str = row.try_get(0).map_err(unexpected_columns)?;
        // A table may contain anything. A text that cannot be a key names no session.
        entries.extend(SessionKey::parse(key).map(|key| (key, read(row))));
    }
    Ok(Page::new(entries, next))
}

/// Reads `session_key, session_data, expire_date`.
pub(super) fn read(row: &PgRow) -> Result<Row, Error> {
    let value: Option<&str> = row.try_get(1).map_err(unexpected_columns)?;
    let expires = row.try_get(2).map_err(unexpected_columns)?;
    Ok(match value {
        Some(value) => Row::new(Bytes::copy_from_slice(value.as_bytes()), expires),
        None => Row::too_large(expires),
    })
}
