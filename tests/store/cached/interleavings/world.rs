//! A cache and a database in memory, each of whose calls waits until the scheduler decides about it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use actix_django_session::{
    Error, SessionKey, Store,
    backend::{Backend, Cursor, Insert, Inserted, Page, Replace, Replaced, Row},
    codec::{Codec, JsonSerializer},
};
use bytes::Bytes;
use tokio::{sync::oneshot, task};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    Cache,
    Database,
}

/// A fault of the cache's, to show that the search would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    None,
    /// A replace does not compare: a late reader fills the cache.
    NoCompare,
    /// Leases of writers are not stored.
    NoLeasesOfWriters,
    /// A caller that replaces another's lease removes it.
    LeasesAreTaken,
}

type Rows = BTreeMap<SessionKey, (Bytes, SystemTime)>;

#[derive(Clone, Debug)]
pub(super) enum Call {
    Get,
    Insert(Bytes, SystemTime),
    Replace { expected: Bytes, new_key: Option<SessionKey>, value: Option<Bytes>, expires: SystemTime },
    Delete,
}

/// The deeds and findings of a task.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Call(Place, SessionKey, Call),
    Read(Bytes),
    Reply(String),
}

#[derive(Debug)]
pub(super) enum Reply {
    Row(Option<Row>),
    Inserted(Inserted),
    Replaced(Replaced),
    Deleted(bool),
    /// Refused: nothing changed.
    Failed,
    /// Nobody knows.
    Lost,
}

/// A call that waits at its gate.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) process: usize,
    /// The task that made it: `1`, or `1.0` for a task that the task `1` has spawned.
    pub(super) task: String,
    pub(super) place: Place,
    pub(super) key: SessionKey,
    pub(super) call: Call,
    /// `None` if nobody waits for the reply any more. The call may be carried out all the same.
    pub(super) reply: Option<oneshot::Sender<Reply>>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) rows: BTreeMap<Place, Rows>,
    pub(super) pending: Vec<Pending>,
    /// Calls and replies of each task.
    pub(super) traces: BTreeMap<String, Vec<Event>>,
    /// The task that runs now. A task that is seen for the first time is its child.
    pub(super) running: String,
    tasks: HashMap<task::Id, String>,
    children: HashMap<String, usize>,
    names: HashMap<Vec<u8>, String>,
    is_gated: bool,
}

#[derive(Clone)]
pub(super) struct World {
    state: Arc<Mutex<State>>,
    defect: Defect,
}

impl World {
    pub(super) fn new(defect: Defect) -> Self {
        Self { state: Arc::default(), defect }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The store of one process.
    pub(super) fn store(&self, process: usize) -> Store {
        let on = |place| {
            let backend = Fake { world: self.clone(), place, process };
            Store::new(backend, Codec::unsigned(JsonSerializer))
        };
        Store::cached(on(Place::Cache), on(Place::Database)).unwrap()
    }

    pub(super) fn close_gates(&self) {
        self.state().is_gated = true;
    }

    pub(super) fn open_gates(&self) {
        self.state().is_gated = false;
    }

    /// Time passes for rows and leases.
    pub(super) fn advance(&self, time: Duration) {
        for (_, expires) in self.state().rows.values_mut().flat_map(BTreeMap::values_mut) {
            *expires -= time;
        }
    }

    /// Carries a call out.
    pub(super) fn effect(&self, place: Place, key: &SessionKey, call: &Call) -> Reply {
        let mut state = self.state();
        let now = SystemTime::now();
        let rows = state.rows.entry(place).or_default();
        let defect = if place == Place::Cache { self.defect } else { Defect::None };
        apply(rows, now, defect, key, call)
    }
}

/// A lease in JSON is a null and its bytes in blanks: two bits each.
fn from_blanks(blanks: &[u8]) -> Vec<u8> {
    let bits = |blank: &u8| b" \t\n\r".iter().position(|known| known == blank).unwrap() as u8;
    blanks.chunks(4).map(|four| four.iter().fold(0, |byte, blank| byte << 2 | bits(blank))).collect()
}

fn is_lease(value: &[u8]) -> bool {
    value.starts_with(b"null")
}

fn apply(rows: &mut Rows, now: SystemTime, defect: Defect, key: &SessionKey, call: &Call) -> Reply {
    rows.retain(|_, (_, expires)| *expires > now);
    // The lease of a reader has one byte `F` before its number, in blanks.
    let is_ignored = |value: &Bytes| match defect {
        Defect::NoLeasesOfWriters => is_lease(value) && !value.starts_with(b"null\t \t\n"),
        _ => false,
    };
    match call {
        Call::Get => Reply::Row(rows.get(key).map(|(value, expires)| Row::new(value.clone(), *expires))),
        Call::Insert(..) if rows.contains_key(key) => Reply::Inserted(Inserted::KeyTaken),
        Call::Insert(value, expires) => {
            if !is_ignored(value) {
                rows.insert(key.clone(), (value.clone(), *expires));
            }
            Reply::Inserted(Inserted::Done)
        }
        Call::Replace { expected, new_key, value, expires } => {
            let Some((stored, until)) = rows.get(key) else { return Reply::Replaced(Replaced::Gone) };
            let taken = defect == Defect::LeasesAreTaken && is_lease(stored) && stored != expected;
            if stored != expected && !taken && defect != Defect::NoCompare {
                return Reply::Replaced(Replaced::Conflict(Row::new(stored.clone(), *until)));
            }
            let new_key = new_key.as_ref().unwrap_or(key);
            if new_key != key && rows.contains_key(new_key) {
                return Reply::Replaced(Replaced::KeyTaken);
            }
            rows.remove(key);
            let value = value.as_ref().unwrap_or(expected);
            if *expires > now && !is_ignored(value) {
                rows.insert(new_key.clone(), (value.clone(), *expires));
            }
            Reply::Replaced(Replaced::Done)
        }
        Call::Delete => Reply::Deleted(rows.remove(key).is_some()),
    }
}

impl State {
    pub(super) fn value(&self, place: Place, key: &SessionKey) -> Option<&Bytes> {
        let (value, expires) = self.rows.get(&place)?.get(key)?;
        (*expires > SystemTime::now()).then_some(value)
    }

    /// The number in the session that a reader would find there.
    pub(super) fn n(&self, place: Place, key: &SessionKey) -> Option<i64> {
        let value = self.value(place, key).filter(|value| !is_lease(value))?;
        let data: serde_json::Value = serde_json::from_slice(value).unwrap();
        data["n"].as_i64()
    }

    pub(super) fn keys(&self) -> Vec<SessionKey> {
        self.rows.values().flat_map(BTreeMap::keys).cloned().collect()
    }

    /// Names a task, so that the same one has the same name in every order.
    pub(super) fn name_task(&mut self, id: task::Id, name: &str) {
        self.tasks.insert(id, name.to_owned());
    }

    fn task(&mut self, id: Option<task::Id>) -> String {
        let Some(id) = id else { return "main".to_owned() };
        if let Some(known) = self.tasks.get(&id) {
            return known.clone();
        }
        let count = self.children.entry(self.running.clone()).or_default();
        let name = format!("{}.{count}", self.running);
        *count += 1;
        self.tasks.insert(id, name.clone());
        name
    }

    /// Random keys and numbers in the order of their appearance, so that equal states look alike.
    fn name(&mut self, bytes: &[u8]) -> String {
        if bytes.starts_with(b"{") {
            return String::from_utf8_lossy(bytes).into_owned();
        }
        let Some(blanks) = bytes.strip_prefix(b"null") else { return self.number(bytes) };
        let lease = from_blanks(blanks);
        let Some((kind, numbers)) = lease.split_first() else { return "null".to_owned() };
        let numbers: Vec<String> = numbers.chunks(8).map(|number| self.number(number)).collect();
        format!("{}{numbers:?}", char::from(*kind))
    }

    fn number(&mut self, bytes: &[u8]) -> String {
        let next = self.names.len();
        self.names.entry(bytes.to_owned()).or_insert_with(|| next.to_string()).clone()
    }

    pub(super) fn describe(&mut self, event: &Event) -> String {
        match event {
            Event::Call(place, key, call) => {
                let key = self.number(key.as_str().as_bytes());
                let call = match call {
                    Call::Get => "get".to_owned(),
                    Call::Delete => "delete".to_owned(),
                    Call::Insert(value, _) => format!("insert {}", self.name(value)),
                    Call::Replace { expected, new_key, value, expires } => {
                        let removes = *expires <= SystemTime::now();
                        let expected = self.name(expected);
                        let value = value.as_ref().map(|value| self.name(value));
                        let new_key = new_key.as_ref().map(|key| self.number(key.as_str().as_bytes()));
                        format!("replace {expected} by {value:?} {new_key:?} removes={removes}")
                    }
                };
                format!("{place:?} {key} {call}")
            }
            Event::Read(value) => self.name(value),
            Event::Reply(text) => text.clone(),
        }
    }

    /// All that the future depends on. `is_relevant` tells of which tasks it depends on their past.
    pub(super) fn summary(&mut self, is_relevant: impl Fn(&Self, &str) -> bool) -> String {
        self.names.clear();
        let relevant: Vec<String> =
            self.traces.keys().filter(|task| is_relevant(self, task)).cloned().collect();
        let mut summary = String::new();
        let pending = std::mem::take(&mut self.pending);
        for call in &pending {
            let (event, is_orphan) = (call.event(), call.reply.is_none());
            summary.push_str(&format!("{} {is_orphan} {}\n", call.task, self.describe(&event)));
        }
        self.pending = pending;
        let traces = std::mem::take(&mut self.traces);
        for task in relevant {
            let events: Vec<String> = traces[&task].iter().map(|event| self.describe(event)).collect();
            summary.push_str(&format!("{task} {events:?}\n"));
        }
        self.traces = traces;
        for (place, rows) in self.rows.clone() {
            // Keys that nobody has a name for stay in their order.
            let mut rows: Vec<String> = rows
                .iter()
                .map(|(key, (value, _))| {
                    format!("{}={}", self.number(key.as_str().as_bytes()), self.name(value))
                })
                .collect();
            rows.sort();
            summary.push_str(&format!("{place:?} {rows:?}\n"));
        }
        summary
    }
}

impl Pending {
    pub(super) fn event(&self) -> Event {
        Event::Call(self.place, self.key.clone(), self.call.clone())
    }
}

impl Reply {
    pub(super) fn event(&self) -> Event {
        match self {
            Self::Row(Some(row)) | Self::Replaced(Replaced::Conflict(row)) => {
                Event::Read(row.value.clone().unwrap())
            }
            other => Event::Reply(format!("{other:?}")),
        }
    }
}

/// One place as one process uses it.
#[derive(Clone)]
struct Fake {
    world: World,
    place: Place,
    process: usize,
}

impl Fake {
    async fn call(&self, key: &SessionKey, call: Call) -> Reply {
        let answered = {
            let mut state = self.world.state();
            let task = state.task(task::try_id());
            if state.is_gated {
                let (reply, answered) = oneshot::channel();
                let (process, place, key) = (self.process, self.place, key.clone());
                let pending = Pending { process, task: task.clone(), place, key, call, reply: Some(reply) };
                state.traces.entry(task).or_default().push(pending.event());
                state.pending.push(pending);
                answered
            } else {
                drop(state);
                return self.world.effect(self.place, key, &call);
            }
        };
        answered.await.unwrap_or(Reply::Lost)
    }
}

fn lost() -> Error {
    Error::store("the reply was lost")
}

impl Backend for Fake {
    async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
        match self.call(key, Call::Get).await {
            Reply::Row(row) => Ok(row),
            _ => Err(lost()),
        }
    }

    async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
        match self.call(new.key, Call::Insert(new.value, new.expires)).await {
            Reply::Inserted(inserted) => Ok(inserted),
            _ => Err(lost()),
        }
    }

    async fn replace(&self, change: Replace<'_>) -> Result<Replaced, Error> {
        let Replace { expected, new_key, value, expires, .. } = change;
        let call = Call::Replace { expected, new_key: new_key.cloned(), value, expires };
        match self.call(change.key, call).await {
            Reply::Replaced(replaced) => Ok(replaced),
            Reply::Failed => Err(lost()),
            _ => Ok(Replaced::Unknown),
        }
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        match self.call(key, Call::Delete).await {
            Reply::Deleted(deleted) => Ok(deleted),
            _ => Err(lost()),
        }
    }

    async fn list(&self, _: Option<Cursor>) -> Result<Page, Error> {
        Ok(Page::new(Vec::new(), None))
    }

    /// The search has faults of its own, and no timeouts.
    fn save_timeout(&self) -> Duration {
        Duration::from_secs(1000)
    }
}
