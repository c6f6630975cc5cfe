//! Connects to one of a database's hosts, with TLS or without.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use deadpool_postgres::Connect;
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Config, Error, NoTls, Socket,
    tls::{MakeTlsConnect, TlsConnect},
};

use super::{hosts::Hosts, sql::LOCK_TIMEOUT, tls::Transport};

/// Rows are looked up by an index, one key after the other, whatever the size of the table. So concurrent
/// batches lock rows in one order without locking them beforehand: see
/// [`BatchStatement`](super::sql::BatchStatement).
const PLANS: &str =
    "-c enable_seqscan=off -c enable_bitmapscan=off -c plan_cache_mode=force_generic_plan -c jit=off";

/// The opposite of [`PLANS`], for a connection whose table turned out to be distributed: Citus refuses a
/// generic plan for a statement that concerns several servers.
pub(super) const NO_PLANS: &str =
    "SET plan_cache_mode = auto; SET enable_seqscan = on; SET enable_bitmapscan = on";

/// Settings as Django's connections have them, whatever the database's defaults. Times in a column without a
/// zone are in UTC. Above READ COMMITTED, concurrent saves would fail with serialization errors. A backslash
/// keeps a blank inside an option.
const SEMANTICS: &str = "-c TimeZone=UTC -c default_transaction_isolation=read\\ committed";

pub(super) type Connected = (Client, JoinHandle<()>);

/// Which settings connections have from the start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnSettings {
    /// For any statement, or behind a pooler, which refuses settings or hands the connection to others with
    /// them.
    None,
    /// Those that every engine has which speaks PostgreSQL's protocol.
    ForAnyEngine,
    ForPostgres,
}

/// Makes the connections of one pool.
pub(super) struct Connector {
    hosts: Arc<Hosts>,
    configs: Vec<Config>,
    /// The timeout of every host but the last one tried.
    share: Duration,
    /// The host of the last connection, which is tried first: the primary seldom moves.
    last_good: AtomicUsize,
}

impl Connector {
    /// Connects within `timeout`.
    pub(super) fn new(hosts: Arc<Hosts>, timeout: Duration, own_settings: OwnSettings) -> Self {
        let share = timeout / u32::try_from(hosts.configs.len()).unwrap_or(u32::MAX).max(1);
        let mut configs = hosts.configs.clone();
        let plans = match own_settings {
            OwnSettings::None => None,
            OwnSettings::ForAnyEngine => Some(""),
            OwnSettings::ForPostgres => Some(PLANS),
        };
        if let Some(plans) = plans {
            for config in &mut configs {
                let given = config.get_options().unwrap_or_default();
                let options = format!("{} {given} {plans} {SEMANTICS}", timeouts(timeout));
                config.options(&options);
            }
        }
        Self { hosts, configs, share, last_good: AtomicUsize::new(0) }
    }

    pub(super) async fn connect(&self) -> Result<Connected, Error> {
        let count = self.configs.len();
        let first = match self.hosts.any_first {
            true => rand::random_range(0..count),
            false => self.last_good.load(Ordering::Relaxed),
        };
        let nth = |n: usize| (first + n) % count;
        for host in (0..count - 1).map(nth) {
            // Only the error of the last host is reported.
            if let Ok(Ok(connected)) = tokio::time::timeout(self.share, self.connect_to(host)).await {
                return Ok(connected);
            }
        }
        self.connect_to(nth(count - 1)).await
    }

    async fn connect_to(&self, host: usize) -> Result<Connected, Error> {
        let config = &self.configs[host];
        let connected = match &self.hosts.transport {
            Transport::Plain => connect(config, NoTls).await?,
            #[cfg(feature = "tls")]
            Transport::Rustls(tls) => connect(config, tls.clone()).await?,
        };
        self.last_good.store(host, Ordering::Relaxed);
        Ok(connected)
    }
}

/// The server cancels what this process no longer waits for: a little later, because this process's error
/// says more.
fn timeouts(timeout: Duration) -> String {
    let statement = timeout.saturating_add(timeout / 10).as_millis() + 50;
    let statement = statement.min(i32::MAX as u128); // the server takes no more
    let lock = LOCK_TIMEOUT.min(timeout).as_millis().max(1);
    format!("-c statement_timeout={statement} -c lock_timeout={lock}")
}

impl Connect for Connector {
    /// Ignores the pool's configuration, which has only one host.
    fn connect(&self, _: &Config) -> Pin<Box<dyn Future<Output = Result<Connected, Error>> + Send + '_>> {
        Box::pin(self.connect())
    }
}

async fn connect<T>(config: &Config, tls: T) -> Result<Connected, Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await?;
    let open = crate::metrics::postgres::connection();
    let driver = tokio::spawn(async move {
        let _open = open;
        if let Err(error) = connection.await {
            // The statement in flight fails with it too, and is reported there.
            tracing::debug!("a connection to the database was closed: {error}");
        }
    });
    Ok((client, driver))
}
