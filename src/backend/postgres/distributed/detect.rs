//! Finds out where the table is, on a connection that was just opened.

use std::time::Duration;

use tokio_postgres::{Client, Error as DriverError, error::SqlState, types::Type};

use super::{Engine, Place};
use crate::backend::postgres::connect::NO_PLANS;

/// Engines that speak PostgreSQL's protocol and spread every table, by their `version()`.
const SPREAD: [&str; 2] = ["CockroachDB", "-YB-"];

/// The version, whether there is a table, whether it or a partition of it is neither a table nor partitioned
/// (it may be foreign, or a view), and whether Citus may have it.
const LOOK: &str = "WITH RECURSIVE tree AS (SELECT to_regclass($1)::oid AS oid \
     UNION SELECT i.inhrelid FROM tree JOIN pg_catalog.pg_inherits AS i ON i.inhparent = tree.oid) \
     SELECT version(), count(*) > 0, coalesce(bool_or(c.relkind::text NOT IN ('r', 'p')), false), \
     to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL \
     FROM tree JOIN pg_catalog.pg_class AS c ON c.oid = tree.oid";

/// Whether Citus has distributed the table, and whether it could: not while a foreign key refers to it.
const IN_CITUS: &str = "SELECT \
     EXISTS (SELECT FROM pg_catalog.pg_dist_partition WHERE logicalrelid = to_regclass($1)), \
     NOT EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE confrelid = to_regclass($1) AND contype = 'f')";

impl Engine {
    /// Whether a connection, new or not, must be used to look where the table is.
    pub(in crate::backend::postgres) fn wants_a_look(&self, is_new: bool) -> bool {
        match self.told {
            None => is_new || self.place() == Place::Unknown,
            Some(false) => false,
            Some(true) => is_new,
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
        let (place, may_be_distributed) = match self.told {
            Some(_) => (self.place(), false),
            None => unless_unknown(locate(client, table).await, (Place::Distributed, false))?,
        };
        if let Some(timeout) = statement_timeout.filter(|_| place == Place::Distributed) {
            let timeout = format!("SET statement_timeout = {}", timeout.as_millis().max(1));
            for set in [&timeout, NO_PLANS] {
                unless_unknown(client.batch_execute(set).await, ())?;
            }
        }
        self.note(place, may_be_distributed);
        Ok(())
    }
}

/// Returns `otherwise` if the engine does not know the catalog, the function or the setting that the statement
/// names (SQLSTATE class 42), as one that is not quite PostgreSQL. A right that is missing tells nothing.
fn unless_unknown<T>(result: Result<T, DriverError>, otherwise: T) -> Result<T, DriverError> {
    let is_unknown =
        |code: &SqlState| code.code().starts_with("42") && *code != SqlState::INSUFFICIENT_PRIVILEGE;
    match result {
        Err(error) if error.code().is_some_and(is_unknown) => Ok(otherwise),
        result => result,
    }
}

/// Returns also whether the table may be distributed while it is in use.
async fn locate(client: &Client, table: &str) -> Result<(Place, bool), DriverError> {
    let row = client.query_typed(LOOK, &[(&table, Type::TEXT)]).await?;
    let Some(row) = row.first() else { return Ok((Place::Unknown, false)) };
    let (version, exists): (&str, bool) = (row.try_get(0)?, row.try_get(1)?);
    let (foreign, citus): (bool, bool) = (row.try_get(2)?, row.try_get(3)?);
    if SPREAD.iter().any(|engine| version.contains(engine)) || foreign {
        return Ok((Place::Distributed, false));
    }
    if !exists {
        return Ok((Place::Unknown, false));
    }
    if citus {
        let rows = client.query_typed(IN_CITUS, &[(&table, Type::TEXT)]).await?;
        let Some(row) = rows.first() else { return Ok((Place::Distributed, false)) };
        let is_distributed: bool = row.try_get(0)?;
        let place = if is_distributed { Place::Distributed } else { Place::OneServer };
        return Ok((place, row.try_get(1)?));
    }
    Ok((Place::OneServer, false))
}
