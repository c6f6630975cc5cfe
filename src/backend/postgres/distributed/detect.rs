//! Finds out where the table is, on a connection that was just opened.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio_postgres::{Client, Error as DriverError, types::Type};

use super::{Engine, Place};
use crate::backend::postgres::error::is_lost;

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
const OTHERS: &str = "SELECT quote_ident(attname) FROM pg_catalog.pg_attribute \
     WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' \
     AND attidentity <> 'a' AND attname NOT IN ('session_key', 'session_data', 'expire_date') \
     ORDER BY attnum";

/// The connection was opened with settings for a table on one server. Under a generic plan Citus refuses
/// every statement that concerns several servers.
const PLANS: &str = "SET plan_cache_mode = auto; SET enable_seqscan = on; SET enable_bitmapscan = on";

impl Engine {
    /// Whether a connection, new or not, must be used to look where the table is.
    pub(in crate::backend::postgres) fn wants_a_look(&self, is_new: bool) -> bool {
        match self.told {
            None => is_new || self.place() == Place::Unknown,
            Some(false) => false,
            Some(true) => is_new || self.others.read().unwrap_or_else(PoisonError::into_inner).is_none(),
        }
    }

    /// Looks where `table` (quoted) is. `statement_timeout` is for a connection of our own to a distributed
    /// table: its servers wait for locks without the coordinator's `lock_timeout`. Errors if the connection
    /// was lost.
    pub(in crate::backend::postgres) async fn look(
        &self,
        client: &Client,
        table: &str,
        statement_timeout: Option<Duration>,
    ) -> Result<(), DriverError> {
        let place = match self.told {
            Some(_) => self.place(),
            None => match locate(client, table).await {
                Ok(place) => place,
                Err(error) if is_lost(&error) => return Err(error),
                // An engine without PostgreSQL's catalog.
                Err(_) => Place::Distributed,
            },
        };
        if place == Place::Distributed {
            // Before it is known to be distributed: a new key takes the other columns along.
            match client.query_typed(OTHERS, &[(&table, Type::TEXT)]).await {
                Ok(rows) => {
                    let names: Result<Arc<[String]>, _> = rows.iter().map(|row| row.try_get(0)).collect();
                    *self.others.write().unwrap_or_else(PoisonError::into_inner) = Some(names?);
                }
                Err(error) if is_lost(&error) => return Err(error),
                Err(_) => {}
            }
            if let Some(timeout) = statement_timeout {
                let timeout = format!("SET statement_timeout = {}", timeout.as_millis().max(1));
                for set in [&timeout, PLANS] {
                    match client.batch_execute(set).await {
                        Err(error) if is_lost(&error) => return Err(error),
                        _ => {}
                    }
                }
            }
        }
        self.found(place);
        Ok(())
    }
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
