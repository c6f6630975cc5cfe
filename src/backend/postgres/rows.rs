//! Reads rows, and writes single ones. Values are bytes here and text in the table.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use bytes::Bytes;
use tokio_postgres::Row as PgRow;

use super::{
    batch::Attempt,
    error::{StatementError, unexpected_columns},
    pool::Connections,
    sql::{BatchStatement, Sql},
    statement::{Executed, Params, Statement},
};
use crate::{Error, SessionKey, backend::Row};

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

/// The content of a row once a write is applied.
pub(super) type After<'a> = (&'a SessionKey, &'a str, SystemTime);

/// The result of a write of one row.
pub(super) enum Written {
    Done,
    KeyTaken,
    /// No row was as the statement expects it. If in doubt, that may be because an earlier attempt was
    /// applied.
    NoMatch {
        in_doubt: bool,
    },
}

const GET: &str = "load a session";

impl SessionRows {
    /// Returns the row under this key that is live at this time.
    pub(super) async fn one(
        &self,
        key: &SessionKey,
        time: SystemTime,
    ) -> Result<Option<Row>, StatementError> {
        let params: &Params<'_> = &[&key.as_str(), &time, &self.max_value_bytes];
        let found = self.connections.run(GET, &self.sql.get, params, true).await?;
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
        let found = self.connections.run(GET, &self.sql.get_many, params, true).await?;
        let mut rows = HashMap::with_capacity(found.rows.len());
        for row in &found.rows {
            rows.insert(row.try_get::<_, &str>(0).map_err(unexpected_columns)?, read(row)?);
        }
        Ok(keys.iter().map(|key| rows.get(key).cloned()).collect())
    }

    /// The same, with the values of large ones.
    pub(super) async fn many_whole(
        &self,
        keys: &[&SessionKey],
        time: SystemTime,
    ) -> Result<Vec<Option<Row>>, StatementError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows = self.many(keys, time).await?;
        for (row, key) in rows.iter_mut().zip(keys) {
            if matches!(row, Some(Row { value: None, .. })) {
                *row = self.one(key, time).await?;
            }
        }
        Ok(rows)
    }

    /// Returns which of these rows are stored exactly so, expired or not: a write whose reply was lost was
    /// applied.
    pub(super) async fn applied(&self, writes: &[After<'_>]) -> Result<Vec<bool>, StatementError> {
        let keys: Vec<&SessionKey> = writes.iter().map(|(key, ..)| *key).collect();
        let rows = self.many_whole(&keys, SystemTime::UNIX_EPOCH).await?;
        let same = |((_, value, expires), row): (&After<'_>, Option<Row>)| {
            row.is_some_and(|row| row.value.as_deref() == Some(value.as_bytes()) && row.expires == *expires)
        };
        Ok(writes.iter().zip(rows).map(same).collect())
    }

    /// Runs a statement that writes one row, which it may give a new key.
    pub(super) async fn write(
        &self,
        action: &str,
        statement: &Statement,
        params: &Params<'_>,
        after: After<'_>,
        new_key: Option<&SessionKey>,
        attempt: Attempt,
    ) -> Result<Written, StatementError> {
        let (executed, refused) =
            match self.connections.run(action, statement, params, attempt.wait_for_lock).await {
                Ok(executed) => (executed, None),
                Err(error) if error.unique => {
                    (Executed { repeated: error.maybe_applied, ..Executed::default() }, Some(error))
                }
                Err(error) => return Err(error),
            };
        let in_doubt = executed.repeated || attempt.maybe_applied;
        if executed.affected == 1 || (in_doubt && self.applied(&[after]).await?[0]) {
            return Ok(Written::Done);
        }
        let Some(error) = refused else { return Ok(Written::NoMatch { in_doubt }) };
        // The key's constraint may have any name, and the table may have others: only a row with the key
        // proves it.
        match new_key {
            Some(key) if self.exists(key).await? => Ok(Written::KeyTaken),
            _ => Err(error),
        }
    }

    pub(super) async fn exists(&self, key: &SessionKey) -> Result<bool, StatementError> {
        let found =
            self.connections.run("look up a session", &self.sql.exists, &[&key.as_str()], true).await?;
        Ok(!found.rows.is_empty())
    }

    pub(super) fn choose<'a>(&self, statement: &'a BatchStatement) -> &'a Statement {
        match self.connections.lock_in_index_order() {
            true => &statement.index_order,
            false => &statement.lock_first,
        }
    }
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
