//! Finds out where the table is, on a connection that was just opened.

use std::{sync::Arc, time::Duration};

use tokio_postgres::{Client, Error as DriverError, types::Type};

use super::{Engine, Place};
use crate::backend::postgres::{connect::NO_PLANS, table::quote};

/// Engines that speak PostgreSQL's protocol and spread every table, by their `version()`.
const SPREAD: [&str; 2] = ["CockroachDB", "-YB-"];

/// The version, whether there is a table, whether it or a partition of it is neither a table nor partitioned
/// (it may be foreign, or a view), and whether Citus may have it.
const LOOK: &str = "WITH RECURSIVE tree AS (SELECT to_regclass($1)::oid AS oid \
     UNION SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent = tree.oid) \
     SELECT version(), count(*) > 0, coalesce(bool_or(c.relkind::text NOT IN ('r', 'p')), false), \
     to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL \
     FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid";

const IS_IN_CITUS: &str =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_dist_partition WHERE logicalrelid = to_regclass($1))";

/// Generated columns have no value of their own.
const OTHERS: &str = "SELECT attname::text FROM pg_catalog.pg_attribute \
     WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' \
     AND attidentity <> 'a' AND attname NOT IN ('session_key', 'session_data', 'expire_date') \
     ORDER BY attnum";

impl Engine {
    /// Whether a connection, new or not, must be used to look where the table is.
    pub(in crate::backend::postgres) fn wants_a_look(&self, is_new: bool) -> bool {
        match self.told {
            None => is_new || self.place() == Place::Unknown,
            Some(false) => false,
            Some(true) => is_new || self.found().others.is_none(),
        }
    }

    /// Looks where `table` (quoted) is. `statement_timeout` is for a connection of our own to a distributed
    /// table: its servers wait for locks without the coordinator's `lock_timeout`.
    pub(in crate::backend::postgres) async fn look(
        &self,
        client: &Client,
        table: &str,
        statement_timeout: Option<Duration>,
    ) -> Result<(), DriverError> {
        let place = match self.told {
            Some(_) => self.place(),
            None => unless_unknown(locate(client, table).await, Place::Distributed)?,
        };
        let mut others = None;
        if place == Place::Distributed {
            others = Some(unless_unknown(further_columns(client, table).await, Arc::default())?);
            if let Some(timeout) = statement_timeout {
                let timeout = format!("SET statement_timeout = {}", timeout.as_millis().max(1));
                for set in [&timeout, NO_PLANS] {
                    unless_unknown(client.batch_execute(set).await, ())?;
                }
            }
        }
        self.note(place, others);
        Ok(())
    }
}

/// Returns `otherwise` if the engine does not know the catalog, the function or the setting that the statement
/// names (SQLSTATE class 42), as one that is not quite PostgreSQL.
fn unless_unknown<T>(result: Result<T, DriverError>, otherwise: T) -> Result<T, DriverError> {
    match result {
        Err(error) if error.code().is_some_and(|code| code.code().starts_with("42")) => Ok(otherwise),
        result => result,
    }
}

async fn further_columns(client: &Client, table: &str) -> Result<Arc<[String]>, DriverError> {
    let rows = client.query_typed(OTHERS, &[(&table, Type::TEXT)]).await?;
    rows.iter().map(|row| row.try_get(0).map(quote)).collect()
}

async fn locate(client: &Client, table: &str) -> Result<Place, DriverError> {
    let row = client.query_typed(LOOK, &[(&table, Type::TEXT)]).await?;
    let Some(row) = row.first() else { return Ok(Place::Unknown) };
    let (version, exists): (&str, bool) = (row.try_get(0)?, row.try_get(1)?);
    let (foreign, citus): (bool, bool) = (row.try_get(2)?, row.try_get(3)?);
    if SPREAD.iter().any(|engine| version.contains(engine)) {
        return Ok(Place::Distributed);
    }
    if !exists {
        return Ok(Place::Unknown);
    }
    if foreign {
        return Ok(Place::Distributed);
    }
    if citus {
        let row = client.query_typed(IS_IN_CITUS, &[(&table, Type::TEXT)]).await?;
        if row.first().is_none_or(|row| row.try_get(0).unwrap_or(true)) {
            return Ok(Place::Distributed);
        }
    }
    Ok(Place::OneServer)
}
