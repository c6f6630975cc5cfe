//! Connections: from a pool, each operation under a deadline, a lost connection replaced once.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use tokio::sync::Semaphore;
use tokio_postgres::{
    Config, Row,
    types::{ToSql, Type},
};

use super::{
    connect::Connector,
    lane::Failure,
    sql::Statement,
    trouble::{explain, is_duplicate, is_locked, is_of_a_row, is_read_only, lost, may_be_done},
    url::Target,
};
use crate::Error;

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// Connections of one runtime.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool,
    pub(super) deadline: Duration,
    pub(super) kind: Kind,
    /// Where they lead, if the pool is ours and not the application's.
    target: Option<Arc<Target>>,
    /// For what may have to wait for others: never all connections do.
    pub(super) apart: Arc<Semaphore>,
}

/// What can be asked of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Ours: it keeps prepared statements, and has one plan for each.
    Own,
    /// The application's: it keeps prepared statements.
    Prepared,
    /// A pooler's: it is another one after each statement.
    Changing,
}

/// Where connections come from.
#[derive(Clone)]
pub(super) enum Source {
    /// Each runtime makes its own: a connection is driven by the runtime that opened it, and one that crosses
    /// over to another costs two changes of threads a statement, and waits when its own is busy.
    Own(Arc<Target>),
    /// The application's.
    Shared(Pool, Kind),
}

/// Connections of a runtime: one for each lane, and some for what goes by itself.
const CONNECTIONS: usize = 8;

/// Between two attempts at a row that somebody holds.
const PAUSE: Duration = Duration::from_millis(10);

/// What is sent: a statement, or a script of several.
enum Job<'a> {
    Query(&'a Statement, Params<'a>),
    Execute(&'a Statement, Params<'a>),
    Script(&'a str),
}

#[derive(Default)]
struct Answer {
    found: Vec<Row>,
    rows: u64,
    duplicate: bool,
}

impl Job<'_> {
    async fn run(&self, kind: Kind, connection: &Object) -> Result<Answer, tokio_postgres::Error> {
        match self {
            Self::Query(statement, params) => {
                let found = if kind == Kind::Changing {
                    connection.query_typed(&statement.text, &typed(statement, params)).await?
                } else {
                    let prepared = connection.prepare_typed_cached(&statement.text, statement.types).await?;
                    connection.query(&prepared, params).await?
                };
                Ok(Answer { found, ..Answer::default() })
            }
            Self::Execute(statement, params) => {
                let rows = if kind == Kind::Changing {
                    connection.execute_typed(&statement.text, &typed(statement, params)).await?
                } else {
                    let prepared = connection.prepare_typed_cached(&statement.text, statement.types).await?;
                    connection.execute(&prepared, params).await?
                };
                Ok(Answer { rows, ..Answer::default() })
            }
            Self::Script(sql) => connection.batch_execute(sql).await.map(|()| Answer::default()),
        }
    }

    /// What a server that is read-only refuses.
    fn writes(&self) -> bool {
        match self {
            Self::Query(statement, _) | Self::Execute(statement, _) => !statement.text.starts_with("SELECT"),
            Self::Script(_) => true,
        }
    }
}

fn typed<'a>(statement: &Statement, params: Params<'a>) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
    params.iter().copied().zip(statement.types.iter().cloned()).collect()
}

/// The rows that a statement changed, each with its key in the first column: the new one, if it was renamed.
pub(super) struct ChangedRows {
    pub(super) rows: Vec<Row>,
    pub(super) repeated: bool,
}

/// How many rows a statement changed.
pub(super) struct Changed {
    pub(super) rows: u64,
    /// None, since the new key is taken.
    pub(super) duplicate: bool,
    /// The statement was sent twice, since the answer to the first was lost with its connection: it may have
    /// been carried out before.
    pub(super) repeated: bool,
}

impl Connections {
    /// For the runtime on which this is called.
    pub(super) fn new(source: &Source, deadline: Duration) -> Result<Self, Error> {
        let target = match source {
            Source::Shared(pool, kind) => {
                let apart = Arc::new(Semaphore::new((pool.status().max_size / 2).max(1)));
                return Ok(Self { pool: pool.clone(), deadline, kind: *kind, target: None, apart });
            }
            Source::Own(target) => target,
        };
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let connector = Connector::new(target.clone(), deadline);
        let pool = Pool::builder(Manager::from_connect(Config::new(), connector, recycling))
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|cause| Error::store_caused_by("cannot make a pool of connections", cause))?;
        let kind = if target.pgbouncer { Kind::Changing } else { Kind::Own };
        let apart = Arc::new(Semaphore::new(CONNECTIONS / 2));
        Ok(Self { pool, deadline, kind, target: Some(target.clone()), apart })
    }

    /// One round trip, to see that somebody answers.
    pub(super) async fn check(&self) -> Result<(), Error> {
        let statement = Statement { text: "SELECT 1".to_owned(), types: &[] };
        self.query_opt("connect to the database", &statement, &[]).await.map(drop)
    }

    pub(super) async fn query_opt(
        &self,
        what: &'static str,
        statement: &Statement,
        params: Params<'_>,
    ) -> Result<Option<Row>, Error> {
        self.query(what, statement, params).await.map(|mut rows| rows.pop())
    }

    pub(super) async fn query(
        &self,
        what: &'static str,
        statement: &Statement,
        params: Params<'_>,
    ) -> Result<Vec<Row>, Error> {
        let (answer, _) = self.run(what, Job::Query(statement, params), true).await?;
        Ok(answer.found)
    }

    /// A statement that changes many rows and tells which, by the key in its first column.
    pub(super) async fn change(
        &self,
        what: &'static str,
        statement: &Statement,
        params: Params<'_>,
    ) -> Result<ChangedRows, Failure> {
        let (answer, repeated) = self.run(what, Job::Query(statement, params), false).await?;
        if answer.duplicate {
            let error = Error::store(format!("cannot {what}: a key is taken"));
            return Err(Failure { of_a_row: true, locked: false, unsure: repeated, error });
        }
        Ok(ChangedRows { rows: answer.found, repeated })
    }

    /// Waits as long as the deadline allows for a row that somebody holds.
    pub(super) async fn execute(
        &self,
        what: &'static str,
        statement: &Statement,
        params: Params<'_>,
    ) -> Result<Changed, Error> {
        Ok(self.try_execute(what, statement, params, true).await?)
    }

    /// As [`execute`](Self::execute) if `patient`, or else only for a moment.
    pub(super) async fn try_execute(
        &self,
        what: &'static str,
        statement: &Statement,
        params: Params<'_>,
        patient: bool,
    ) -> Result<Changed, Failure> {
        let (answer, repeated) = self.run(what, Job::Execute(statement, params), patient).await?;
        Ok(Changed { rows: answer.rows, duplicate: answer.duplicate, repeated })
    }

    /// Several statements in one message, for DDL.
    pub(super) async fn script(&self, sql: &str) -> Result<(), Error> {
        self.run("create the table of sessions", Job::Script(sql), true).await?;
        Ok(())
    }

    /// Runs a statement within the deadline; again if its connection was lost. The flag says that both may have been carried out.
    async fn run(&self, what: &'static str, job: Job<'_>, patient: bool) -> Result<(Answer, bool), Failure> {
        let attempts = async {
            let (mut again, mut repeated, mut since) = (false, false, None);
            loop {
                let lease = Lease(Some(self.connection(what, since).await?));
                match job.run(self.kind, lease.connection()).await {
                    Ok(answer) => {
                        if let (Some(target), true) = (&self.target, job.writes()) {
                            target.primary.took_a_write(Object::metrics(lease.connection()).created);
                        }
                        lease.give_back();
                        return Ok((answer, repeated));
                    }
                    Err(error) if is_duplicate(&error) => {
                        lease.give_back();
                        return Ok((Answer { duplicate: true, ..Answer::default() }, repeated));
                    }
                    Err(error) if lost(&error) && !again => {
                        again = true;
                        repeated = may_be_done(&error);
                        since = self.check_primary(&error);
                    }
                    Err(error) if patient && is_locked(&error) => {
                        lease.give_back();
                        tokio::time::sleep(PAUSE).await; // a server may be told not to wait at all
                    }
                    Err(error) => {
                        self.check_primary(&error);
                        if !lost(&error) {
                            lease.give_back();
                        }
                        let (of_a_row, locked) = (is_of_a_row(&error), is_locked(&error));
                        let error = explain(what, error);
                        return Err(Failure { of_a_row, locked, unsure: repeated, error });
                    }
                }
            }
        };
        self.within_deadline(what, attempts).await
    }

    /// If a server takes no writes, only a connection that is opened from now on may lead to one that does.
    fn check_primary(&self, error: &tokio_postgres::Error) -> Option<Instant> {
        is_read_only(error).then(|| {
            if let Some(target) = &self.target {
                target.primary.takes_no_writes();
            }
            Instant::now()
        })
    }

    /// One that was opened after `since`, and after the primary was another server.
    async fn connection(&self, what: &'static str, since: Option<Instant>) -> Result<Object, Error> {
        loop {
            let connection = self.pool.get().await.map_err(|error| match error {
                PoolError::Backend(error) => explain(what, error),
                other => Error::store_caused_by(format!("cannot {what}: no connection"), other),
            })?;
            let since = since.max(self.target.as_ref().and_then(|target| target.primary.since()));
            if since.is_none_or(|since| Object::metrics(&connection).created >= since) {
                return Ok(connection);
            }
            drop(Object::take(connection));
        }
    }

    async fn within_deadline<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::time::timeout(self.deadline, work).await.unwrap_or_else(|_| {
            let deadline = self.deadline;
            if self.target.is_some() {
                // Whatever does not answer on one connection will not on the others, and each would cost a deadline.
                self.pool.retain(|_, _| false);
            }
            Err(Error::store(format!("cannot {what}: the database did not answer within {deadline:?}"))
                .into())
        })
    }
}

/// A connection in use. Unless it is given back it leaves the pool: one whose statement was cut off by the
/// deadline, or by a visitor who left, may still be busy with it, and the next user would wait for that.
struct Lease(Option<Object>);

impl Lease {
    fn give_back(mut self) {
        self.0 = None;
    }

    #[allow(clippy::expect_used)] // taken out only where the lease ends
    fn connection(&self) -> &Object {
        self.0.as_ref().expect("a lease holds its connection")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
