//! Runs a statement: within the timeout, and again if its connection was lost.

use std::{
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use deadpool_postgres::Object;
use futures_util::TryStreamExt as _;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{
    Error as DriverError, Row as PgRow,
    types::{ToSql, Type},
};

use super::{
    advice::Subject,
    distributed::Place,
    error::{
        StatementError, is_canceled, is_conflict, is_locked, is_lost, is_of_another_server, is_read_only,
        is_unsupported, may_be_applied,
    },
    pool::Connections,
    sql::LOCK_TIMEOUT,
};
use crate::{Error, backend::Action, metrics::Retried};

pub(super) type Params<'a> = [&'a (dyn ToSql + Sync)];

/// Between two attempts at a locked row.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause after the first lost conflict.
const CONFLICT_PAUSE: Duration = Duration::from_millis(1);

/// SQL with the types of its parameters: behind a pooler nothing is prepared that could return them.
pub(super) struct Statement {
    pub(super) text: String,
    pub(super) types: &'static [Type],
    /// Several statements in one message, which the server runs as one transaction.
    script: bool,
    subject: Subject,
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
        Self { text: text.into(), types, script: false, subject: Subject::Sessions }
    }

    pub(super) fn script(text: String) -> Self {
        Self { text, types: &[], script: true, subject: Subject::Sessions }
    }

    /// The same, on other tables than that of sessions.
    #[cfg(feature = "auth")]
    pub(super) fn about(self, subject: Subject) -> Self {
        Self { subject, ..self }
    }

    /// Whether a read-only server refuses it.
    fn writes(&self) -> bool {
        !self.text.starts_with("SELECT")
    }

    /// Sets `sent` as soon as the statement may be applied.
    async fn send(
        &self,
        on: &Object,
        params: &Params<'_>,
        prepare: bool,
        sent: &AtomicBool,
    ) -> Result<Executed, DriverError> {
        let send = || sent.store(true, Ordering::Relaxed);
        if self.script {
            send();
            return on.batch_execute(&self.text).await.map(|()| Executed::default());
        }
        let params = params.iter().map(|param| *param as &dyn ToSql);
        let stream = if prepare {
            let prepared = on.prepare_typed_cached(&self.text, self.types).await?;
            send();
            on.query_raw(&prepared, params).await?
        } else {
            send();
            on.query_typed_raw(&self.text, params.zip(self.types.iter().cloned())).await?
        };
        let mut stream = pin!(stream);
        let rows = stream.as_mut().try_collect().await?;
        Ok(Executed { rows, affected: stream.rows_affected().unwrap_or(0), repeated: false })
    }
}

/// How a statement may be retried.
#[derive(Clone, Copy)]
pub(super) struct Retry {
    /// Send it again although the first attempt may have been applied.
    pub(super) resend: bool,
    /// Try until the timeout while a lock is held.
    pub(super) locked: bool,
    /// How often it may lose against concurrent transactions.
    pub(super) conflicts: u32,
}

impl Retry {
    /// For statements that read, or change nothing that a second time would change again.
    pub(super) const READ: Self = Self { resend: true, locked: true, conflicts: u32::MAX };
    /// For a write of one row.
    pub(super) const ONCE: Self = Self { resend: false, locked: false, conflicts: u32::MAX };
    /// For a batch, whose requests run alone if it loses too often.
    pub(super) const BATCH: Self = Self { resend: false, locked: false, conflicts: 3 };
}

async fn takes_writes(connection: &Object) -> bool {
    let shown = connection.query_typed("SHOW transaction_read_only", &[]).await;
    shown.is_ok_and(|rows| rows.first().is_some_and(|row| row.try_get(0).is_ok_and(|on: &str| on == "off")))
}

impl Connections {
    /// Runs a statement within the timeout.
    pub(super) async fn run(
        &self,
        action: Action,
        statement: &Statement,
        params: &Params<'_>,
        retry: Retry,
    ) -> Result<Executed, StatementError> {
        let mut watch = self.metrics.watch(action);
        let deadline = Instant::now() + self.timeout;
        let (mut reconnected, mut repeated, mut since, mut conflicts) = (false, false, None, 0);
        loop {
            let Ok(checkout) = timeout_at(deadline, self.checkout(action, since)).await else {
                return Err(self.no_reply(action, repeated));
            };
            let not_connected = |error: Error| StatementError { maybe_applied: repeated, ..error.into() };
            let (checkout, sent) = (checkout.map_err(not_connected)?, AtomicBool::new(false));
            let sending = statement.send(checkout.connection(), params, !self.pgbouncer, &sent);
            let error = match timeout_at(deadline, sending).await {
                Ok(Ok(executed)) => {
                    watch.done();
                    if statement.writes() {
                        self.took_a_write(checkout.connection());
                    }
                    checkout.give_back();
                    return Ok(Executed { repeated, ..executed });
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(self.no_reply(action, repeated || sent.into_inner())),
            };
            let time_is_left = Instant::now() + LOCK_PAUSE + LOCK_TIMEOUT < deadline;
            let is_distributed = self.engine.place() == Place::Distributed;
            // A server of the table may be read-only, and this one may not.
            let is_usable = is_distributed
                && is_read_only(&error)
                && timeout_at(deadline, takes_writes(checkout.connection())).await.unwrap_or(false);
            if is_lost(&error) && !is_usable {
                let maybe_applied = sent.into_inner() && may_be_applied(&error);
                let reopened = is_read_only(&error).then(|| self.refused_a_write());
                if reconnected || (maybe_applied && !retry.resend) {
                    return Err(StatementError::new(
                        action,
                        statement.subject,
                        error,
                        repeated || maybe_applied,
                    ));
                }
                (reconnected, repeated, since) = (true, maybe_applied, reopened);
                watch.retried(Retried::ConnectionLost);
                continue;
            }
            checkout.give_back();
            // Another server may have carried it out.
            let maybe_applied = is_of_another_server(&error) || (is_distributed && is_canceled(&error));
            if is_of_another_server(&error) && retry.resend && !reconnected {
                (reconnected, repeated) = (true, true);
                watch.retried(Retried::ConnectionLost);
                continue;
            }
            if is_unsupported(&error) && !reconnected {
                // The next connection tells where the table is, and has the settings for it.
                self.engine.doubt();
                reconnected = true;
                continue;
            }
            if is_conflict(&error) && conflicts < retry.conflicts && time_is_left {
                conflicts += 1;
                watch.retried(Retried::Conflict);
                let pause =
                    rand::random_range(0..=CONFLICT_PAUSE.as_micros() as u64 * u64::from(conflicts.min(10)));
                tokio::time::sleep(Duration::from_micros(pause)).await;
            } else if is_locked(&error) && retry.locked && time_is_left {
                watch.retried(Retried::Locked);
                // lock_timeout may be so short that it does not wait at all.
                tokio::time::sleep(LOCK_PAUSE).await;
            } else {
                return Err(StatementError::new(action, statement.subject, error, repeated || maybe_applied));
            }
        }
    }

    /// The server does not answer: every pooled connection would cost another timeout.
    pub(super) fn no_reply(&self, action: Action, maybe_applied: bool) -> StatementError {
        self.discard_idle();
        let timeout = self.timeout;
        let text = format!("cannot {action}: the database did not answer within {timeout:?}");
        StatementError { maybe_applied, ..Error::store(text).into() }
    }
}
