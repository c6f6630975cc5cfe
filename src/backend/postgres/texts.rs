//! Statements on other tables than that of sessions: every parameter and every column is text.
//!
//! The SQL casts. So one reader serves every type of column, and SQLite's rows look the same. Times alone may
//! come as `timestamptz`.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{sync::oneshot, time::timeout_at};
use tokio_postgres::types::{ToSql, Type};

use super::{
    Postgres,
    advice::Subject,
    batch::{Attempt, BatchOp, Outcome},
    error::{StatementError, unexpected_columns},
    pool::Connections,
    statement::{Executed, Params, Retry, Statement},
};
use crate::{
    Error,
    backend::{
        Action,
        database::{Executed as Texts, Keyed, LOAD_USER, NotExecuted, TextRow, TextStatement},
    },
    datetime::micros,
};

static TEXTS: [Type; 16] = [const { Type::TEXT }; 16];

/// Between two attempts at a locked row.
const PAUSE: Duration = Duration::from_millis(10);

/// The statements of a [`Keyed`] query.
pub(crate) struct KeyedStatements {
    one: Statement,
    many: Statement,
    has_text_keys: bool,
}

impl KeyedStatements {
    /// `many` has the parameter of `one` as an array, and returns the key in its first column.
    pub(crate) fn new(one: String, many: String, has_text_keys: bool) -> Self {
        Self {
            has_text_keys,
            one: Statement::new(one, &TEXTS[..1]).about(Subject::Users),
            many: Statement::new(many, &[Type::TEXT_ARRAY]).about(Subject::Users),
        }
    }
}

impl Postgres {
    /// Runs a statement with up to 16 parameters. The SQL of a write must contain [`short_lock_timeout`].
    ///
    /// It runs in a task of its own: a caller who leaves must not cost the connection. Few run at once, so
    /// that connections are left for sessions, whatever the tables of users do.
    pub(crate) async fn texts(
        &self,
        statement: &TextStatement,
        params: &[Option<&str>],
    ) -> Result<Texts, NotExecuted> {
        let (runtime, action) = (self.runtimes.current()?, statement.action);
        let error = |why: &str| Err(Error::store(format!("cannot {action}: {why}")).into());
        let bytes = params.iter().flatten().map(|param| param.len()).sum();
        let Some(ticket) = runtime.texts.admit(bytes) else {
            crate::metrics::postgres::refused(action);
            return error("too many requests wait for the database already");
        };
        let connections = runtime.rows.connections.clone();
        let job = Job {
            statement: Statement::new(&*statement.sql, &TEXTS[..params.len()]).about(Subject::Users),
            action,
            writes: statement.writes,
            retry: match statement.writes {
                true => Retry { resend: statement.repeatable, ..Retry::ONCE },
                false => Retry { locked: false, ..Retry::READ },
            },
            params: params.iter().map(|param| param.map(str::to_owned)).collect(),
            deadline: Instant::now() + connections.timeout,
        };
        let (reply, replied) = oneshot::channel();
        tokio::spawn(async move {
            let result = job.run(&connections, &reply).await;
            let _ = reply.send(result); // the caller may have left
            drop(ticket);
        });
        replied.await.unwrap_or_else(|_| error("the runtime that runs it has stopped"))
    }

    /// Runs a query for one key, together with those of other requests that wait.
    pub(crate) async fn keyed(&self, query: &Arc<Keyed>, key: &str) -> Result<Option<TextRow>, Error> {
        let key = (Arc::as_ptr(query) as usize, key.into());
        self.runtimes.current()?.lookups.submit(Lookup { key, query: query.clone() }).await
    }
}

/// A statement on its way.
struct Job {
    statement: Statement,
    action: Action,
    writes: bool,
    retry: Retry,
    params: Vec<Option<String>>,
    deadline: Instant,
}

impl Job {
    /// A locked row is tried again and again, each time for a moment only.
    async fn run(
        &self,
        connections: &Connections,
        reply: &oneshot::Sender<Result<Texts, NotExecuted>>,
    ) -> Result<Texts, NotExecuted> {
        let late = || Error::store(format!("cannot {}: the database has no time for it", self.action));
        let params: Vec<_> = self.params.iter().map(|param| param as &(dyn ToSql + Sync)).collect();
        let mut locked = false;
        loop {
            let permits = if locked { &connections.permits.locked } else { &connections.permits.users };
            let permit = timeout_at(self.deadline.into(), permits.acquire()).await;
            let Ok(Ok(permit)) = permit else { return Err(late().into()) };
            let left = self.deadline.saturating_duration_since(Instant::now());
            if reply.is_closed() || left.is_zero() {
                return Err(late().into());
            }
            let connections = connections.with_timeout(left);
            match connections.run(self.action, &self.statement, &params, self.retry).await {
                Ok(executed) => return Ok(read(&executed)?),
                Err(failed) if failed.locked && left > 2 * PAUSE => locked = true,
                Err(failed) if failed.maybe_applied && self.writes => {
                    return Err(Error::write_in_doubt(self.action).into());
                }
                Err(failed) => {
                    let refused = failed.refused.is_some();
                    return Err(NotExecuted { taken: failed.unique, refused, error: failed.error });
                }
            }
            drop(permit);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn read(executed: &Executed) -> Result<Texts, Error> {
    let rows = executed.rows.iter().map(read_row).collect::<Result<_, _>>()?;
    Ok(Texts { rows, affected: executed.affected })
}

fn read_row(row: &tokio_postgres::Row) -> Result<TextRow, Error> {
    (0..row.len()).map(|n| read_column(row, n).map_err(unexpected_columns)).collect()
}

/// A time becomes its microseconds since 1970.
fn read_column(row: &tokio_postgres::Row, n: usize) -> Result<Option<String>, tokio_postgres::Error> {
    match *row.columns()[n].type_() {
        Type::TIMESTAMPTZ => {
            let time: Option<SystemTime> = row.try_get(n)?;
            Ok(time.map(|time| micros(time).to_string()))
        }
        _ => row.try_get(n),
    }
}

/// Queries by key, batched as the loads of sessions are.
pub(super) struct Lookups(pub(super) Connections);

pub(super) struct Lookup {
    /// The query by its address, and the text of the key.
    key: (usize, Arc<str>),
    query: Arc<Keyed>,
}

impl BatchOp for Lookups {
    const ACTION: Action = LOAD_USER;
    const SHARED: bool = true;

    const READS: bool = true;

    type Key = (usize, Arc<str>);
    type Request = Lookup;
    type Reply = Option<TextRow>;

    fn key(lookup: &Lookup) -> &Self::Key {
        &lookup.key
    }

    fn share(row: &Option<TextRow>) -> Option<TextRow> {
        row.clone()
    }

    async fn run_one(&self, lookup: &Lookup, _: Attempt) -> Result<Option<TextRow>, StatementError> {
        let params: &Params<'_> = &[&&*lookup.key.1];
        let found = self.0.run(LOAD_USER, &lookup.query.statements.one, params, Retry::READ).await?;
        Ok(found.rows.first().map(read_row).transpose()?)
    }

    /// Serves the requests of one query. Those of another one run alone: a process has one as a rule.
    async fn run_batch(
        &self,
        lookups: &[&Lookup],
        _: bool,
    ) -> Result<Vec<Outcome<Option<TextRow>>>, StatementError> {
        let query = lookups[0].key.0;
        let keys: Vec<&str> =
            lookups.iter().filter(|one| one.key.0 == query).map(|one| &*one.key.1).collect();
        let found = self.0.run(LOAD_USER, &lookups[0].query.statements.many, &[&keys], Retry::READ).await?;
        let mut rows: HashMap<Option<&str>, _> = HashMap::with_capacity(found.rows.len());
        for row in &found.rows {
            rows.insert(row.try_get(0).map_err(unexpected_columns)?, row);
        }
        // A collation may find texts equal that are spelled otherwise: only the server knows their rows.
        let has_text_keys = lookups[0].query.statements.has_text_keys;
        let outcome = |one: &&Lookup| match rows.get(&Some(&*one.key.1)) {
            _ if one.key.0 != query => Ok(Outcome::Alone),
            Some(row) => Ok(Outcome::Done(Some(read_row(row)?))),
            None if has_text_keys => Ok(Outcome::Alone),
            None => Ok(Outcome::Done(None)),
        };
        lookups.iter().map(outcome).collect()
    }
}

/// A condition that is true, and lets the statement wait for a lock only for a moment.
pub(crate) fn short_lock_timeout() -> String {
    format!(
        "(SELECT set_config('lock_timeout', '{}', true)) IS NOT NULL",
        super::sql::LOCK_TIMEOUT.as_millis()
    )
}
