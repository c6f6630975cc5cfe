//! Statements on other tables than that of sessions: every parameter and every column is text.
//!
//! The SQL casts. So one reader serves every type of column, and SQLite's rows look the same. Times alone may
//! come as `timestamptz`.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio_postgres::types::Type;

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
    backend::database::{Executed as Texts, Keyed, NotExecuted, TextRow, TextStatement},
    datetime::micros,
};

static TEXTS: [Type; 16] = [const { Type::TEXT }; 16];

/// Between two attempts at a locked row.
const PAUSE: Duration = Duration::from_millis(10);

/// The statements of a [`Keyed`] query.
pub(crate) struct KeyedStatements {
    one: Statement,
    many: Statement,
}

impl KeyedStatements {
    /// `many` has the parameter of `one` as an array, and returns the key in its first column.
    pub(crate) fn new(one: String, many: String) -> Self {
        Self {
            one: Statement::new(one, &TEXTS[..1]).about(Subject::Users),
            many: Statement::new(many, &[Type::TEXT_ARRAY]).about(Subject::Users),
        }
    }
}

impl Postgres {
    /// Runs a statement with up to 16 parameters.
    ///
    /// A write waits for a locked row in short attempts, so that it keeps no connection from others. The SQL
    /// of a write must say so by [`short_lock_timeout`].
    pub(crate) async fn texts(
        &self,
        statement: &TextStatement,
        params: &[Option<&str>],
    ) -> Result<Texts, NotExecuted> {
        let runtime = self.runtimes.current()?;
        let connections = &runtime.rows.connections;
        let sql = Statement::new(&*statement.sql, &TEXTS[..params.len()]).about(Subject::Users);
        let params: Vec<_> =
            params.iter().map(|param| param as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
        let retry = if statement.writes {
            Retry { resend: statement.repeatable, ..Retry::ONCE }
        } else {
            Retry::READ
        };
        let deadline = Instant::now() + connections.timeout;
        loop {
            let _permit = match statement.writes {
                true => connections.permits.locked.acquire().await.ok(),
                false => None,
            };
            match connections.run(statement.action, &sql, &params, retry).await {
                Ok(executed) => return Ok(read(&executed)?),
                Err(failed) if failed.locked && Instant::now() + PAUSE < deadline => {}
                Err(failed) => {
                    return Err(NotExecuted { taken: failed.unique, error: failed.error });
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Runs a query for one key, together with those of other requests that wait.
    pub(crate) async fn keyed(&self, query: &Arc<Keyed>, key: &str) -> Result<Option<TextRow>, Error> {
        let key = (Arc::as_ptr(query) as usize, key.into());
        self.runtimes.current()?.lookups.submit(Lookup { key, query: query.clone() }).await
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

const ACTION: &str = "load a user";

impl BatchOp for Lookups {
    const ACTION: &'static str = ACTION;
    const SHARED: bool = true;

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
        let found = self.0.run(ACTION, &lookup.query.statements.one, params, Retry::READ).await?;
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
        let found = self.0.run(ACTION, &lookups[0].query.statements.many, &[&keys], Retry::READ).await?;
        let mut rows: HashMap<Option<&str>, _> = HashMap::with_capacity(found.rows.len());
        for row in &found.rows {
            rows.insert(row.try_get(0).map_err(unexpected_columns)?, row);
        }
        let outcome = |one: &&Lookup| match one.key.0 == query {
            true => {
                let row = rows.get(&Some(&*one.key.1)).map(|row| read_row(row));
                Ok(Outcome::Done(row.transpose()?))
            }
            false => Ok(Outcome::Alone),
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
