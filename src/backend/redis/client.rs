//! Who is asked: the server that has a key, over a connection that is there or made anew, within a deadline.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex as Lock, PoisonError},
    time::{Duration, Instant},
};

use redis::{Pipeline, ServerErrorKind, Value};
use tokio::{
    runtime::{Handle, Id},
    sync::Mutex,
};

use super::{
    error::Failure,
    owners::Known,
    request::{Place, Request},
    server::{Address, Connection},
    slots::{Owners, slot},
    url::{Kind, Target},
};

/// How often a key is followed through a cluster that is being changed.
const HOPS: usize = 16;

/// Before a cluster is asked again about a key that it is moving.
const PAUSE: Duration = Duration::from_millis(20);

/// Connections to one server or many.
pub(super) struct Client {
    pub(super) target: Target,
    /// A connection belongs to the runtime that drives it; each worker of actix is one.
    connections: Lock<HashMap<(Id, Address), Shared>>,
    pub(super) known: Lock<Known>,
    /// Held by who asks for the owners; the others wait for what he hears.
    pub(super) asking: Mutex<()>,
}

/// A connection, or none yet; locked while it is made.
type Shared = Arc<Mutex<Option<Connection>>>;

/// The server that is being asked, and over what.
type InUse = (Address, Option<Connection>);

/// Somebody waits for an answer, and may leave before the deadline: because he has one of his own, or because a visitor left.
struct Waiting<'a> {
    client: &'a Client,
    in_use: Lock<Option<InUse>>,
    since: Instant,
}

/// Who leaves sooner says nothing about the server.
const SLOW: Duration = Duration::from_millis(200);

impl Waiting<'_> {
    fn take(&self) -> Option<InUse> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some((server, connection)) = self.take()
            && self.since.elapsed() >= SLOW
        {
            self.client.despair(&server, connection.as_ref());
        }
    }
}

/// What Redis said, none of it a refusal.
pub(super) struct Answer {
    pub(super) values: Vec<Value>,
    /// Sent twice, since the answer to the first was lost: it may have been carried out before.
    pub(super) repeated: bool,
}

impl Client {
    pub(super) fn new(target: Target) -> Self {
        let owners = match (&target.kind, target.servers.first()) {
            (Kind::Server, Some(server)) => Some(Arc::new(Owners::one(server.clone()))),
            _ => None,
        };
        let known = Lock::new(Known { owners, suspects: Vec::new() });
        Self { target, connections: Lock::default(), known, asking: Mutex::default() }
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.target.kind == Kind::Cluster
    }

    /// Asks within the deadline; again if the connection was lost, or the key is elsewhere.
    pub(super) async fn ask(&self, deadline: Duration, request: Request) -> Result<Answer, Failure> {
        let waiting = Waiting { client: self, in_use: Lock::default(), since: Instant::now() };
        let answer = within(deadline, self.attempts(request, deadline, &waiting.in_use)).await;
        let in_use = waiting.take();
        let (Err(Failure::TooLate(..)), Some((server, connection))) = (&answer, in_use) else {
            return answer;
        };
        self.despair(&server, connection.as_ref());
        Err(match connection {
            Some(_) => Failure::TooLate(Some(server), deadline),
            None if self.target.tls.is_some() => Failure::NoTls(server, deadline),
            None => Failure::TooLate(Some(server), deadline),
        })
    }

    /// It may never answer again, and the next one would wait for that.
    fn despair(&self, server: &Address, connection: Option<&Connection>) {
        self.suspect(server);
        if let Some(connection) = connection {
            connection.give_up();
        }
    }

    async fn attempts(
        &self,
        request: Request,
        deadline: Duration,
        in_use: &Lock<Option<InUse>>,
    ) -> Result<Answer, Failure> {
        let (mut commands, mut with_script) = (request.commands, request.with_script);
        let (mut repeated, mut doubted, mut hops) = (false, false, 0);
        let mut elsewhere = None;
        loop {
            let redirected = elsewhere.take();
            let asking = matches!(redirected, Some((_, true)));
            let server = match (&request.place, redirected) {
                (_, Some((server, _))) => server,
                (Place::Server(server), None) => server.clone(),
                (Place::Key(key), None) => self.owner(slot(key), deadline).await?,
            };
            let now = |connection| {
                *in_use.lock().unwrap_or_else(PoisonError::into_inner) = Some((server.clone(), connection));
            };
            now(None);
            let connection = match self.connection(&server).await {
                Ok(connection) => connection,
                Err(failure) => {
                    // Once more if somebody else has taken its place.
                    self.suspect(&server);
                    let away = matches!(failure, Failure::Away(..) | Failure::Lost(..));
                    if away && !doubted && self.target.kind != Kind::Server {
                        doubted = true;
                        continue;
                    }
                    return Err(failure);
                }
            };
            now(Some(connection.clone()));
            let values = match send(&connection, &server, &commands, asking).await {
                Ok(values) => values,
                Err(failure) => {
                    self.suspect(&server);
                    if repeated || !matches!(failure, Failure::Lost(..)) {
                        return Err(failure);
                    }
                    repeated = true;
                    continue;
                }
            };
            let refusal = values.iter().find_map(|value| match value {
                Value::ServerError(error) => Some(error),
                _ => None,
            });
            let Some(refusal) = refusal else { return Ok(Answer { values, repeated }) };
            let kind = refusal.kind();
            match kind {
                Some(ServerErrorKind::NoScript) if with_script.is_some() => {
                    commands = with_script.take().unwrap_or_default();
                    elsewhere = asking.then_some((server, true));
                    continue;
                }
                Some(ServerErrorKind::Moved | ServerErrorKind::Ask)
                    if self.is_cluster() && matches!(request.place, Place::Key(_)) =>
                {
                    if let Some(next) = refusal.details().and_then(|text| redirection(text, &server)) {
                        hops += 1;
                        if hops > HOPS {
                            return Err(Failure::Other("the cluster sends us in circles".to_owned()));
                        }
                        if kind == Some(ServerErrorKind::Moved) {
                            self.suspect(&server);
                        }
                        elsewhere = Some((next, kind == Some(ServerErrorKind::Ask)));
                        continue;
                    }
                }
                // Until it has been moved, or the deadline is over.
                Some(ServerErrorKind::TryAgain) if self.is_cluster() => {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                // A master that is one no more.
                Some(ServerErrorKind::ReadOnly) if self.target.kind != Kind::Server => {
                    self.suspect(&server);
                    connection.give_up();
                    if !doubted {
                        doubted = true;
                        continue;
                    }
                }
                _ => {}
            }
            return Err(Failure::Refused(refusal.into()));
        }
    }

    /// One that is there, or a new one. Others who want the same wait for it, each within its own deadline.
    pub(super) async fn connection(&self, server: &Address) -> Result<Connection, Failure> {
        let Ok(runtime) = Handle::try_current() else {
            return Err(Failure::Other("Redis needs a tokio runtime".to_owned()));
        };
        let place = {
            let mut all = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
            let key = (runtime.id(), server.clone());
            if !all.contains_key(&key) {
                // Those of runtimes that have ended, and of servers that are no longer used.
                all.retain(|_, place| {
                    let usable =
                        |place: &Option<Connection>| place.as_ref().is_some_and(Connection::is_usable);
                    place.try_lock().map_or(true, |place| usable(&place))
                });
            }
            all.entry(key).or_default().clone()
        };
        let mut place = place.lock().await;
        if let Some(connection) = place.as_ref().filter(|connection| connection.is_usable()) {
            return Ok(connection.clone());
        }
        *place = None;
        let connection = Connection::open(&self.target, server, true).await?;
        *place = Some(connection.clone());
        Ok(connection)
    }

    /// Nobody new is to use a connection to this server.
    pub(super) fn give_up(&self, server: &Address) {
        let all = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let places = all.iter().filter(|((_, other), _)| other == server).map(|(_, place)| place);
        for place in places {
            if let Ok(Some(connection)) = place.try_lock().as_deref() {
                connection.give_up();
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.target.fmt(f)
    }
}

pub(super) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    if Handle::try_current().is_err() {
        return Err(Failure::Other("Redis needs a tokio runtime".to_owned()));
    }
    tokio::time::timeout(deadline, work).await.unwrap_or(Err(Failure::TooLate(None, deadline)))
}

/// With the word that a server wants to hear which has a key already that is still another's.
async fn send(
    connection: &Connection,
    server: &Address,
    pipeline: &Pipeline,
    asking: bool,
) -> Result<Vec<Value>, Failure> {
    if !asking {
        return connection.send(server, pipeline).await;
    }
    let mut asked = Pipeline::new();
    for command in pipeline.cmd_iter() {
        let _ = asked.cmd("ASKING").add_command(command.clone());
    }
    let values = connection.send(server, &asked).await?;
    Ok(values.into_iter().skip(1).step_by(2).collect())
}

/// `3999 127.0.0.1:6381`
fn redirection(text: &str, asked: &Address) -> Option<Address> {
    let (host, port) = text.split_ascii_whitespace().nth(1)?.rsplit_once(':')?;
    Some(Address::relative(host, port.parse().ok()?, asked))
}
