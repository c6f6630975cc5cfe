//! Runs a statement: within the timeout, and again if its connection was lost.

use std::{pin::pin, time::Duration};

use deadpool_postgres::Object;
use futures_util::TryStreamExt as _;
use tokio_postgres::{
    Error as DriverError, Row as PgRow,
    types::{ToSql, Type},
};

use super::{
    error::{StatementError, is_locked, is_lost, is_read_only, may_be_applied},
    pool::Connections,
};
use crate::Error;

pub(super) type Params<'a> = [&'a (dyn ToSql + Sync)];

/// Between two attempts at a locked row.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// SQL with the types of its parameters: behind a pooler nothing is prepared that could return them.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) types: &'static [Type],
    /// Several statements in one message, which the server runs as one transaction.
    script: bool,
}

/// The result of a statement.
#[derive(Default)]
pub(super) struct Executed {
    pub(super) rows: Vec<PgRow>,
    /// How many rows were changed or returned.
    pub(super) affected: u64,
    /// The statement was sent twice because the first reply was lost: it may have been applied before.
    pub(super) repeated: bool,
}

impl Statement {
    pub(super) fn new(text: impl Into<String>, types: &'static [Type]) -> Self {
        Self { text: text.into(), types, script: false }
    }

    pub(super) fn script(text: String) -> Self {
        Self { text, types: &[], script: true }
    }

    /// Whether a read-only server refuses it.
    fn writes(&self) -> bool {
        !self.text.starts_with("SELECT")
    }

    async fn send(&self, on: &Object, params: &Params<'_>, prepare: bool) -> Result<Executed, DriverError> {
        if self.script {
            return on.batch_execute(&self.text).await.map(|()| Executed::default());
        }
        let params = params.iter().map(|param| *param as &dyn ToSql);
        let stream = if prepare {
            let prepared = on.prepare_typed_cached(&self.text, self.types).await?;
            on.query_raw(&prepared, params).await?
        } else {
            on.query_typed_raw(&self.text, params.zip(self.types.iter().cloned())).await?
        };
        let mut stream = pin!(stream);
        let rows = stream.as_mut().try_collect().await?;
        Ok(Executed { rows, affected: stream.rows_affected().unwrap_or(0), repeated: false })
    }
}

impl Connections {
    /// Runs a statement within the timeout. If a row stays locked for the server's `lock_timeout`, the
    /// statement is retried if `wait_for_lock`, and else it fails.
    pub(super) async fn run(
        &self,
        action: &str,
        statement: &Statement,
        params: &Params<'_>,
        wait_for_lock: bool,
    ) -> Result<Executed, StatementError> {
        let attempts = async {
            let (mut reconnected, mut repeated, mut since) = (false, false, None);
            loop {
                let checkout = self.checkout(action, since).await?;
                let error = match statement.send(checkout.connection(), params, !self.pgbouncer).await {
                    Ok(executed) => {
                        if statement.writes() {
                            self.took_a_write(checkout.connection());
                        }
                        checkout.give_back();
                        return Ok(Executed { repeated, ..executed });
                    }
                    Err(error) => error,
                };
                let lost = is_lost(&error);
                let reopened = is_read_only(&error).then(|| self.refused_a_write());
                if !lost {
                    checkout.give_back();
                }
                if lost && !reconnected {
                    reconnected = true;
                    repeated = may_be_applied(&error);
                    since = reopened;
                } else if wait_for_lock && is_locked(&error) {
                    // lock_timeout may be so short that it does not wait at all.
                    tokio::time::sleep(LOCK_PAUSE).await;
                } else {
                    return Err(StatementError::new(action, error, repeated));
                }
            }
        };
        tokio::time::timeout(self.timeout, attempts).await.unwrap_or_else(|_| {
            self.discard_idle();
            let timeout = self.timeout;
            let text = format!("cannot {action}: the database did not answer within {timeout:?}");
            Err(Error::store(text).into())
        })
    }
}
