//! Sends calls to the server that has the key, over an open or a new connection, within a timeout.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{ServerErrorKind, Value};
use tokio::runtime::Handle;

use super::{
    call::{Call, Reply, Route},
    connection::Connection,
    error::CallError,
    pool::ConnectionPool,
    slots::slot,
    stream::Address,
    topology::{SlotMap, Topology},
    url::{Layout, RedisConfig},
};

/// How many redirections one call follows through a cluster that is being changed.
const MAX_REDIRECTIONS: usize = 16;

/// The pause before a call is repeated for a key that a cluster is moving.
const TRY_AGAIN_PAUSE: Duration = Duration::from_millis(20);

/// A call that is dropped sooner proves nothing about the server.
const SLOW: Duration = Duration::from_millis(200);

/// A client of one server or many.
pub(super) struct Client {
    pool: ConnectionPool,
    topology: Topology,
}

/// A call in flight. Its caller may drop it before the timeout: the caller has a shorter one, or a visitor
/// left.
struct InFlight<'a> {
    client: &'a Client,
    current: Mutex<Option<Attempt>>,
    /// Whether the current attempt was sent, and no reply has refused it.
    sent: AtomicBool,
    /// Whether an earlier attempt may have been carried out.
    repeated: AtomicBool,
    since: Instant,
}

/// The server that the call was sent to, and the connection if there is one yet.
type Attempt = (Address, Option<Connection>);

impl InFlight<'_> {
    fn set(&self, attempt: Option<Attempt>) -> Option<Attempt> {
        std::mem::replace(&mut *self.current.lock().unwrap_or_else(PoisonError::into_inner), attempt)
    }

    fn is_sent(&self) -> bool {
        self.sent.load(Ordering::Relaxed)
    }

    fn is_repeated(&self) -> bool {
        self.repeated.load(Ordering::Relaxed)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if let Some((server, connection)) = self.set(None)
            && self.since.elapsed() >= SLOW
        {
            self.client.mark_failed(&server, connection.as_ref());
        }
    }
}

impl Client {
    pub(super) fn new(config: RedisConfig) -> Self {
        Self { pool: ConnectionPool::new(config), topology: Topology::default() }
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.pool.config.layout == Layout::Cluster
    }

    /// Returns the owners of all slots, refreshed.
    pub(super) async fn slot_map(&self, timeout: Duration) -> Result<Arc<SlotMap>, CallError> {
        within(timeout, self.topology.slot_map(&self.pool, timeout)).await
    }

    /// Makes a call within the timeout. Repeats it if another server has the key, or if the connection was
    /// lost and the call was not sent or is repeatable.
    ///
    /// Errors with [`InDoubt`](CallError::InDoubt) if an attempt may have been carried out.
    pub(super) async fn call(&self, timeout: Duration, call: Call) -> Result<Reply, CallError> {
        let in_flight = InFlight {
            client: self,
            current: Mutex::default(),
            sent: AtomicBool::new(false),
            repeated: AtomicBool::new(false),
            since: Instant::now(),
        };
        let result = within(timeout, self.attempts(call, timeout, &in_flight)).await;
        let error = match (result, in_flight.set(None)) {
            (Ok(reply), _) => return Ok(reply),
            (Err(CallError::TimedOut(..)), Some((server, connection))) => {
                self.mark_failed(&server, connection.as_ref());
                match connection {
                    None if self.pool.config.tls.is_some() => CallError::TlsTimedOut(server, timeout),
                    _ => CallError::TimedOut(Some(server), timeout),
                }
            }
            (Err(error), _) => error,
        };
        let in_doubt = in_flight.is_sent() || in_flight.is_repeated();
        Err(if in_doubt { CallError::InDoubt(Box::new(error)) } else { error })
    }

    async fn attempts(
        &self,
        call: Call,
        timeout: Duration,
        in_flight: &InFlight<'_>,
    ) -> Result<Reply, CallError> {
        let Call { mut pipeline, route, mut with_source, repeatable } = call;
        let (mut retried, mut rerouted, mut redirections) = (false, false, 0);
        let mut redirection = None;
        loop {
            let (server, asking) = match (&route, redirection.take()) {
                (_, Some(redirection)) => redirection,
                (Route::Server(server), None) => (server.clone(), false),
                (Route::Key(name), None) => {
                    (self.topology.owner(&self.pool, slot(name), timeout).await?, false)
                }
            };
            in_flight.set(Some((server.clone(), None)));
            let connection = match self.pool.get(&server).await {
                Ok(connection) => connection,
                Err(error) => {
                    self.mark_stale(&server);
                    // Once more: another server may have taken over.
                    let unreachable = matches!(error, CallError::Unreachable(..) | CallError::NotSent(..));
                    if unreachable && !rerouted && self.has_failover() {
                        rerouted = true;
                        continue;
                    }
                    return Err(error);
                }
            };
            in_flight.set(Some((server.clone(), Some(connection.clone()))));
            in_flight.sent.store(true, Ordering::Relaxed);
            let sent = connection.send(&server, &pipeline, asking).await;
            let in_doubt = !matches!(sent, Ok(_) | Err(CallError::NotSent(..)));
            in_flight.sent.store(in_doubt, Ordering::Relaxed);
            let values = match sent {
                Ok(values) => values,
                Err(error) => {
                    self.mark_stale(&server);
                    let lost = matches!(error, CallError::Lost(..) | CallError::NotSent(..));
                    if retried || !lost || (in_doubt && !repeatable) {
                        return Err(error);
                    }
                    retried = true;
                    in_flight.repeated.fetch_or(in_doubt, Ordering::Relaxed);
                    continue;
                }
            };
            let rejection = values.iter().find_map(|value| match value {
                Value::ServerError(error) => Some(error),
                _ => None,
            });
            let Some(rejection) = rejection else {
                return Ok(Reply { values, repeated: in_flight.is_repeated() });
            };
            match rejection.kind() {
                Some(ServerErrorKind::NoScript) if with_source.is_some() => {
                    pipeline = with_source.take().unwrap_or_default();
                    redirection = asking.then_some((server, true));
                    continue;
                }
                Some(kind @ (ServerErrorKind::Moved | ServerErrorKind::Ask))
                    if self.is_cluster() && matches!(route, Route::Key(_)) =>
                {
                    if let Some(target) = rejection.details().and_then(|text| redirected(text, &server)) {
                        redirections += 1;
                        if redirections > MAX_REDIRECTIONS {
                            let text = "the servers of the cluster redirect to each other";
                            return Err(CallError::Other(text.to_owned()));
                        }
                        if kind == ServerErrorKind::Moved {
                            self.mark_stale(&server);
                        }
                        redirection = Some((target, kind == ServerErrorKind::Ask));
                        continue;
                    }
                }
                // Until the keys have been moved, or the timeout is over.
                Some(ServerErrorKind::TryAgain) if self.is_cluster() => {
                    tokio::time::sleep(TRY_AGAIN_PAUSE).await;
                    continue;
                }
                // This server was the master and is not any more.
                Some(ServerErrorKind::ReadOnly) if self.has_failover() => {
                    self.mark_failed(&server, Some(&connection));
                    if !rerouted {
                        rerouted = true;
                        continue;
                    }
                }
                _ => {}
            }
            return Err(CallError::Rejected(rejection.into()));
        }
    }

    fn has_failover(&self) -> bool {
        self.pool.config.layout != Layout::Server
    }

    fn mark_stale(&self, server: &Address) {
        self.topology.mark_stale(&self.pool.config, server);
    }

    /// The connection may never answer again: the next call takes another one.
    fn mark_failed(&self, server: &Address, connection: Option<&Connection>) {
        self.mark_stale(server);
        if let Some(connection) = connection {
            connection.retire();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt(f)
    }
}

async fn within<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, CallError>>,
) -> Result<T, CallError> {
    if Handle::try_current().is_err() {
        return Err(CallError::Other("Redis needs a tokio runtime".to_owned()));
    }
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(CallError::TimedOut(None, timeout)))
}

/// The server that a MOVED or ASK names: `3999 127.0.0.1:6381`.
fn redirected(text: &str, source: &Address) -> Option<Address> {
    let (host, port) = text.split_ascii_whitespace().nth(1)?.rsplit_once(':')?;
    Some(Address::relative(host, port.parse().ok()?, source))
}
