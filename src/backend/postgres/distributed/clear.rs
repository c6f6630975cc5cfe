//! Clears expired rows of a distributed table in slices, each a transaction of its own.
//!
//! Locked rows cannot be left out: an engine that spreads a table refuses `SKIP LOCKED` over its servers. If
//! a slice fails because of a row, its rows are deleted one by one, and the ones that fail are skipped.

use std::time::SystemTime;

use crate::{
    Error,
    backend::postgres::{
        clear::{ACTION, Clear, Round},
        error::{StatementError, unexpected_columns},
        statement::{Executed, Params, Retry, Statement},
    },
};

/// Rows of a transaction.
const SLICE: u64 = 500;

/// So many rows of a slice may take until the timeout: then a server is stuck, and not a row.
const MAX_STUCK: u32 = 3;

impl Clear<'_> {
    /// Deletes up to `limit` expired rows and returns how many. Fewer mean that no other can be deleted.
    pub(in crate::backend::postgres) async fn slices(&self, limit: u32) -> Result<u64, Error> {
        let limit = u64::from(limit);
        let (mut round, mut cleared) = (self.progress.take_round(), 0);
        while cleared < limit {
            let rows = SLICE.min(limit - cleared);
            let (now, count) = (SystemTime::now(), i64::try_from(rows).unwrap_or(i64::MAX));
            let (date, key) = round.position.clone().unzip();
            let key = key.unwrap_or_default();
            let params: &Params<'_> = &[&now, &count, &date, &key];
            let expired = self.run(&self.sql.distributed.expired, params).await?.rows;
            let mut keys: Vec<&str> = Vec::with_capacity(expired.len());
            for row in &expired {
                keys.push(row.try_get(0).map_err(unexpected_columns)?);
            }
            let Some(last) = expired.last() else { break };
            let date: SystemTime = last.try_get(1).map_err(unexpected_columns)?;
            round.position = Some((date, last.try_get(0).map_err(unexpected_columns)?));
            cleared += match self.delete_now(&self.sql.distributed.clear_many, &[&keys, &now]).await {
                Ok(done) => done.affected,
                Err(failed) if is_of_a_row(&failed) => match self.one_by_one(&mut round, &keys, now).await {
                    Ok(cleared) => cleared,
                    Err(error) => {
                        self.finish(round, true).await; // the next call begins behind this slice
                        return Err(error);
                    }
                },
                Err(failed) => return Err(failed.error),
            };
            if (keys.len() as u64) < rows {
                break;
            }
        }
        self.finish(round, cleared >= limit).await;
        Ok(cleared)
    }

    /// Does not try again while a row is locked.
    async fn delete_now(
        &self,
        statement: &Statement,
        params: &Params<'_>,
    ) -> Result<Executed, StatementError> {
        self.connections.run(ACTION, statement, params, Retry { locked: false, ..Retry::READ }).await
    }

    async fn one_by_one(&self, round: &mut Round, keys: &[&str], now: SystemTime) -> Result<u64, Error> {
        let (mut cleared, mut stuck) = (0, 0);
        for key in keys {
            match self.delete_now(&self.sql.distributed.clear, &[key, &now]).await {
                Ok(done) => cleared += done.affected,
                Err(failed) if is_of_a_row(&failed) => {
                    stuck += u32::from(failed.refused.is_none() && !failed.locked);
                    if stuck >= MAX_STUCK {
                        return Err(failed.error);
                    }
                    round.skipped += 1;
                    round.refusal = Some(failed.error);
                }
                Err(failed) => return Err(failed.error),
            }
        }
        Ok(cleared)
    }
}

fn is_of_a_row(failed: &StatementError) -> bool {
    failed.locked || failed.row_specific
}
