//! The connections of one runtime: a pool of its own, or the application's.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use tokio::sync::Semaphore;
use tokio_postgres::Config;

use super::{
    advice::Subject,
    connect::{Connector, OwnSettings},
    distributed::{Engine, Place},
    error::explain,
    hosts::Hosts,
    runtimes::PostgresSettings,
    sql::Sql,
};
use crate::{Error, backend::Action, metrics::postgres as metrics};

/// Connections of a runtime: one for each kind of batch, and some for requests that run alone.
const CONNECTIONS: usize = 8;

/// The same where every request runs alone.
const DISTRIBUTED_CONNECTIONS: usize = 16;

/// Of the timeout, the share in which a statement on a distributed table must end: then its server says so, and
/// the connection can be used again.
const STATEMENT_SHARE: f64 = 0.9;

/// Where connections come from.
#[derive(Clone)]
pub(super) enum Source {
    /// Each runtime opens its own. A connection is driven by the runtime that opened it: used from another
    /// one, it costs two thread switches a statement, and waits while its own runtime is busy.
    Own(Arc<Hosts>),
    /// The application's pool, with permits that all runtimes share.
    #[cfg_attr(
        not(feature = "with-deadpool-postgres-0_14"),
        expect(dead_code, reason = "from_pool makes it")
    )]
    Shared(Pool, Permits),
}

/// Connections of one runtime.
#[derive(Clone)]
pub(super) struct Connections {
    pool: Pool,
    /// `None` for the application's pool.
    hosts: Option<Arc<Hosts>>,
    pub(super) timeout: Duration,
    /// Transaction pooling: the server process may change after every statement, so statements are not
    /// prepared.
    pub(super) pgbouncer: bool,
    pub(super) permits: Permits,
    pub(super) engine: Arc<Engine>,
    sql: Arc<Sql>,
    pub(super) metrics: Arc<metrics::ConnectionMetrics>,
}

/// Permits for requests that use a connection by themselves, so that some are always left for batches.
#[derive(Clone)]
pub(super) struct Permits {
    /// For loads of large sessions, and for writes that a batch cannot do.
    pub(super) free: Arc<Semaphore>,
    /// For writes of locked rows.
    pub(super) locked: Arc<Semaphore>,
    /// For statements on the tables of users.
    #[cfg(feature = "auth")]
    pub(super) users: Arc<Semaphore>,
    /// For loads of a distributed table.
    pub(super) reads: Arc<Semaphore>,
    /// For its other statements.
    pub(super) writes: Arc<Semaphore>,
    /// For those of both that take long.
    pub(super) slow: Arc<Semaphore>,
    /// Whether an attempt at a locked row may keep its connection for longer.
    pub(super) may_wait_longer: bool,
}

impl Permits {
    pub(super) fn of(connections: usize) -> Self {
        Self::new(connections, connections)
    }

    /// For own connections.
    fn of_own() -> Self {
        Self::new(CONNECTIONS, DISTRIBUTED_CONNECTIONS)
    }

    fn new(connections: usize, distributed: usize) -> Self {
        let quarter = || Arc::new(Semaphore::new((connections / 4).max(1)));
        let share = |of_sixteen: usize| Arc::new(Semaphore::new((distributed * of_sixteen / 16).max(1)));
        Self {
            free: quarter(),
            locked: quarter(),
            #[cfg(feature = "auth")]
            users: quarter(),
            reads: share(5),
            writes: share(5),
            slow: share(3),
            may_wait_longer: true,
        }
    }

    /// For all runtimes together. How many connections the pooler has is unknown.
    pub(super) fn of_pooler() -> Self {
        Self { may_wait_longer: false, ..Self::of_own() }
    }
}

impl Connections {
    /// The same connections, for what has less time left.
    #[cfg(feature = "auth")]
    pub(super) fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// For the runtime on which this is called.
    pub(super) fn new(settings: &PostgresSettings) -> Result<Self, Error> {
        let (timeout, pgbouncer) = (settings.timeout, settings.pgbouncer);
        let (engine, sql) = (settings.engine.clone(), settings.sql.clone());
        let (pool, hosts, permits) = match &settings.source {
            Source::Shared(pool, permits) => (pool.clone(), None, permits.clone()),
            Source::Own(hosts) => {
                let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
                let (own, most) = match engine.told() {
                    _ if pgbouncer => (OwnSettings::None, CONNECTIONS),
                    Some(true) => (OwnSettings::ForAnyEngine, DISTRIBUTED_CONNECTIONS),
                    _ => (OwnSettings::ForPostgres, CONNECTIONS),
                };
                let connector = Connector::new(hosts.clone(), timeout, own);
                let pool = Pool::builder(Manager::from_connect(Config::new(), connector, recycling))
                    .max_size(most)
                    .runtime(Runtime::Tokio1)
                    .build()
                    .map_err(|cause| Error::store_caused_by("cannot make a connection pool", cause))?;
                let permits = if pgbouncer { settings.pooler_permits.clone() } else { Permits::of_own() };
                (pool, Some(hosts.clone()), permits)
            }
        };
        let metrics = Arc::new(metrics::ConnectionMetrics::new());
        Ok(Self { pool, hosts, timeout, pgbouncer, permits, engine, sql, metrics })
    }

    /// Whether connections have our settings: `lock_timeout`, and plans that lock rows in the order of
    /// the keys.
    pub(super) fn have_settings(&self) -> bool {
        self.hosts.is_some() && !self.pgbouncer
    }

    /// Takes a connection that was opened after `since`, and since the last failover.
    pub(super) async fn checkout(&self, action: Action, since: Option<Instant>) -> Result<Checkout, Error> {
        let mut lost_a_new_one = false;
        loop {
            let waiter = self.metrics.waiter();
            let connection = self.pool.get().await.map_err(|error| match error {
                PoolError::Backend(error) => {
                    metrics::connection_failed();
                    explain(action, error, Subject::Sessions)
                }
                other => Error::store_caused_by(format!("cannot {action}: no connection"), other),
            })?;
            drop(waiter);
            let own = self.hosts.as_ref().and_then(|hosts| hosts.primary.since().max(self.engine.since()));
            let since = since.max(own);
            if since.is_none_or(|since| Object::metrics(&connection).created >= since) {
                let is_new = Object::metrics(&connection).recycle_count == 0;
                let checkout = Checkout(Some(connection));
                match self.look(action, checkout.connection(), is_new).await {
                    // The server may have closed it. Nothing was sent: the next one tells.
                    Err(_) if !is_new || !mem::replace(&mut lost_a_new_one, true) => continue,
                    looked => looked?,
                }
                return Ok(checkout);
            }
            drop(Object::take(connection));
        }
    }

    /// Looks where the table is, if this connection is new or nobody knows.
    async fn look(&self, action: Action, connection: &Object, is_new: bool) -> Result<(), Error> {
        if !self.engine.wants_a_look(is_new) {
            return Ok(());
        }
        let timeout = self.have_settings().then(|| self.timeout.mul_f64(STATEMENT_SHARE));
        self.engine
            .look(connection, &self.sql.table, timeout)
            .await
            .map_err(|error| explain(action, error, Subject::Sessions))?;
        if self.hosts.is_some() && self.engine.place() == Place::Distributed {
            self.pool.resize(DISTRIBUTED_CONNECTIONS);
        }
        Ok(())
    }

    /// Whether the table is distributed; looks for it if nobody has.
    pub(super) async fn is_distributed(&self, action: Action) -> Result<bool, Error> {
        self.know_the_place(action).await?;
        Ok(self.engine.place() == Place::Distributed)
    }

    /// Looks where the table is, if nobody has.
    pub(super) async fn know_the_place(&self, action: Action) -> Result<(), Error> {
        if self.engine.place() == Place::Unknown {
            match tokio::time::timeout(self.timeout, self.checkout(action, None)).await {
                Ok(checkout) => checkout?.give_back(),
                Err(_) => return Err(self.no_reply(action, false).error),
            }
        }
        Ok(())
    }

    /// Notes that a server is read-only. Only a connection opened from now on may reach one that takes
    /// writes.
    pub(super) fn refused_a_write(&self) -> Instant {
        if let Some(hosts) = &self.hosts {
            hosts.primary.refused_a_write();
        }
        Instant::now()
    }

    /// Notes that a server takes writes.
    pub(super) fn took_a_write(&self, connection: &Object) {
        if let Some(hosts) = &self.hosts {
            hosts.primary.took_a_write(Object::metrics(connection).created);
        }
    }

    /// After a timeout, drops every pooled connection of our own: each of them would cost another timeout.
    pub(super) fn discard_idle(&self) {
        if self.hosts.is_some() {
            self.pool.retain(|_, _| false);
        }
    }
}

/// A connection in use. It leaves the pool unless it is given back: after a timeout or a cancelled request it
/// may still be busy with the statement, and the next user would wait for that.
pub(super) struct Checkout(Option<Object>);

impl Checkout {
    pub(super) fn give_back(mut self) {
        self.0 = None;
    }

    #[allow(clippy::expect_used)] // only give_back and drop take it
    pub(super) fn connection(&self) -> &Object {
        self.0.as_ref().expect("a checkout holds its connection")
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
