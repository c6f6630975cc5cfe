//! Connecting: to one of the hosts that the URL names, over TLS or not.

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

use super::{tls::Tls, url::Target};

/// Whatever the size of the table, rows are looked up by an index, in its order. So batches of several connections lock rows
/// in one order and need not lock them beforehand; see [`Many`](super::sql::Many).
const PLANS: &str =
    "-c enable_seqscan=off -c enable_bitmapscan=off -c plan_cache_mode=force_generic_plan -c jit=off";

/// How long a statement of many waits for a row that somebody holds. Then each is asked for by itself, and again.
const LOCKS: Duration = Duration::from_millis(200);

pub(super) type Connected = (Client, JoinHandle<()>);

/// Makes the connections of one pool.
pub(super) struct Connector {
    target: Arc<Target>,
    hosts: Vec<Config>,
    /// How long a host may take that is not the last one to try.
    share: Duration,
    /// The one that took the last connection: where the primary is now is where it was a moment ago.
    good: AtomicUsize,
}

impl Connector {
    /// For connections that have to come about within `deadline`.
    pub(super) fn new(target: Arc<Target>, deadline: Duration) -> Self {
        let share = deadline / u32::try_from(target.hosts.len()).unwrap_or(u32::MAX).max(1);
        let mut hosts = target.hosts.clone();
        if target.own {
            for host in &mut hosts {
                let all = format!("{} {} {PLANS}", limits(deadline), host.get_options().unwrap_or_default());
                host.options(&all);
            }
        }
        Self { target, hosts, share, good: AtomicUsize::new(0) }
    }

    pub(super) async fn connect(&self) -> Result<Connected, Error> {
        let hosts = &self.hosts;
        let first = match self.target.any_first {
            true => rand::random_range(0..hosts.len()),
            false => self.good.load(Ordering::Relaxed),
        };
        let nth = |n: usize| (first + n) % hosts.len();
        for host in (0..hosts.len() - 1).map(nth) {
            // What the last one says counts.
            if let Ok(Ok(connected)) = tokio::time::timeout(self.share, self.connect_to(host)).await {
                return Ok(connected);
            }
        }
        self.connect_to(nth(hosts.len() - 1)).await
    }

    async fn connect_to(&self, host: usize) -> Result<Connected, Error> {
        let config = &self.hosts[host];
        let connected = match &self.target.tls {
            Tls::No => connect(config, NoTls).await?,
            #[cfg(feature = "tls")]
            Tls::Rustls(tls) => connect(config, tls.clone()).await?,
        };
        self.good.store(host, Ordering::Relaxed);
        Ok(connected)
    }
}

/// What we do not wait for any more the server is not to do either. It gives up a little later than we do, since our error
/// says more.
fn limits(deadline: Duration) -> String {
    let statement = deadline.saturating_add(deadline / 10).as_millis() + 50;
    let statement = statement.min(i32::MAX as u128); // the server takes no more
    let lock = LOCKS.min(deadline).as_millis().max(1);
    format!("-c statement_timeout={statement} -c lock_timeout={lock}")
}

impl Connect for Connector {
    /// The configuration given to the pool is not looked at: it knows one host.
    fn connect(&self, _: &Config) -> Pin<Box<dyn Future<Output = Result<Connected, Error>> + Send + '_>> {
        Box::pin(self.connect())
    }
}

async fn connect<T>(host: &Config, tls: T) -> Result<Connected, Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
    T::TlsConnect: Send,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = host.connect(tls).await?;
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            // Whoever is waiting for an answer learns it too.
            tracing::debug!("a connection to the database ended: {error}");
        }
    });
    Ok((client, driver))
}
