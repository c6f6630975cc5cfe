//! Writers of one session who meet: one statement saves the changes of all that wait, in the order in which they came.
//!
//! What is stored is right without it, since every save compares before it sets. But of many who do, each time one gets
//! through and the others have worked for nothing.

use std::{
    collections::{HashMap, hash_map::Entry},
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use tokio::sync::oneshot;

use super::{
    expiry,
    state::{Change, Row},
};
use crate::{
    Error, SessionKey,
    codec::SessionData,
    settings::Policy,
    store::{AnyStore, Loaded, Outcome, Seen},
};

/// What a store holds under a key, as far as is known.
pub(super) type Latest = Option<(Seen, SessionData)>;

/// How a writer's changes were saved.
pub(super) enum Saved {
    /// The row and the data as they are in the store.
    Done(Row, SessionData),
    /// Not at all: something is there that cannot be read.
    Unreadable(Arc<Error>),
}

/// Somebody who waits.
enum Waiting {
    Writer(Writer),
    /// Wants to be alone with the session, until the turn is dropped.
    Alone(oneshot::Sender<Turn>),
}

struct Writer {
    changes: Arc<Vec<Change>>,
    policy: Policy,
    answer: oneshot::Sender<Result<Saved, Error>>,
}

/// As long as it is held, nobody of the group writes.
pub(super) struct Turn {
    _ended_by_drop: oneshot::Sender<()>,
}

/// The sessions whose writers have met, each with those who wait.
static GROUPS: LazyLock<Mutex<Groups>> = LazyLock::new(Mutex::default);

type Groups = HashMap<Name, Vec<Waiting>>;

/// How many these are: mostly none, and then nobody has to look.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// The store by its identity, since two stores may hold sessions under one key.
type Name = (usize, SessionKey);

fn groups() -> MutexGuard<'static, Groups> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session in a store, for its writers.
#[derive(Clone)]
pub(super) struct Group {
    store: AnyStore,
    key: SessionKey,
}

impl Group {
    pub(super) fn new(store: &AnyStore, key: &SessionKey) -> Self {
        Self { store: store.clone(), key: key.clone() }
    }

    fn name(&self) -> Name {
        (self.store.identity(), self.key.clone())
    }

    /// Whether writers of it have met.
    pub(super) fn has_met(&self) -> bool {
        COUNT.load(Ordering::Relaxed) > 0 && groups().contains_key(&self.name())
    }

    /// Has these changes saved together with those of the others.
    pub(super) async fn save(
        &self,
        changes: Arc<Vec<Change>>,
        policy: Policy,
        latest: Latest,
    ) -> Result<Saved, Error> {
        let (answer, answered) = oneshot::channel();
        self.wait(Waiting::Writer(Writer { changes, policy, answer }), latest);
        answered.await.unwrap_or_else(|_| Err(Error::store("cannot save a session: its worker has stopped")))
    }

    /// Waits for a turn alone.
    pub(super) async fn turn(&self) -> Option<Turn> {
        let (turn, given) = oneshot::channel();
        self.wait(Waiting::Alone(turn), None);
        given.await.ok() // it is only for fairness
    }

    fn wait(&self, who: Waiting, latest: Latest) {
        match groups().entry(self.name()) {
            Entry::Occupied(mut group) => return group.get_mut().push(who),
            Entry::Vacant(group) => drop(group.insert(vec![who])),
        }
        COUNT.fetch_add(1, Ordering::Relaxed);
        // Not a part of any request: the one that began it may be dropped. And not while the groups are locked: a runtime
        // that is stopping drops it at once, and then it closes the group.
        tokio::spawn(Open { group: self.clone(), latest, closed: false }.serve());
    }
}

/// A group at work. While it lives, nobody else begins one.
struct Open {
    group: Group,
    latest: Latest,
    /// From here on another one may be open.
    closed: bool,
}

impl Drop for Open {
    /// Whoever still waits, since the runtime has stopped, learns it by this.
    fn drop(&mut self) {
        if !self.closed {
            self.close(&mut groups());
        }
    }
}

impl Open {
    fn close(&mut self, groups: &mut Groups) {
        self.closed = true;
        groups.remove(&self.group.name());
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }

    async fn serve(mut self) {
        let name = self.group.name();
        loop {
            let waiting = {
                let mut groups = groups();
                let waiting = groups.get_mut(&name).map(mem::take).unwrap_or_default();
                if waiting.is_empty() {
                    self.close(&mut groups);
                    return;
                }
                waiting
            };
            let mut writers = Vec::with_capacity(waiting.len());
            for who in waiting {
                match who {
                    Waiting::Writer(writer) => writers.push(writer),
                    Waiting::Alone(turn) => {
                        self.save(mem::take(&mut writers)).await;
                        let (begin, end) = oneshot::channel();
                        if turn.send(Turn { _ended_by_drop: begin }).is_ok() {
                            let _ = end.await;
                            self.latest = None;
                        }
                    }
                }
            }
            self.save(writers).await;
        }
    }

    /// Saves the changes of these writers by one statement, if each of them can be.
    async fn save(&mut self, mut writers: Vec<Writer>) {
        let Group { store, key } = &self.group;
        loop {
            writers.retain(|writer| !writer.answer.is_closed());
            if writers.is_empty() {
                return;
            }
            let (outcome, done) = match self.latest.take() {
                None => (store.load(key).await.map(Loaded::refused), None),
                Some((seen, mut data)) => {
                    writers = Writer::apply_all(writers, &mut data);
                    let Some(last) = writers.last() else {
                        self.latest = None; // whoever comes next looks
                        return;
                    };
                    let expires = expiry::stored_date(&data, last.policy, SystemTime::now());
                    (store.update(key, &seen, &data, expires).await, Some((data, expires)))
                }
            };
            let refused = match (outcome, done) {
                (Ok(Outcome::Saved(seen)), Some((data, expires))) => {
                    self.latest = Some((seen.clone(), data.clone()));
                    let row = Row::Stored { key: key.clone(), seen, expires };
                    return answer_all(writers, || Ok(Saved::Done(row.clone(), data.clone())));
                }
                (Ok(Outcome::SavedAs(key, seen)), Some((data, expires))) => {
                    let row = Row::Stored { key, seen, expires };
                    return answer_all(writers, || Ok(Saved::Done(row.clone(), data.clone())));
                }
                (Ok(Outcome::Changed(record)), _) => {
                    self.latest = Some(record.into_seen());
                    continue;
                }
                (Ok(Outcome::Unreadable(error)), _) => {
                    return answer_all(writers, || Ok(Saved::Unreadable(error.clone())));
                }
                (Ok(_), _) => Error::interrupted(),
                // Too large, say. Which of them made it so shows when each is tried by itself.
                (Err(error), _) if !error.is_store() && writers.len() > 1 => {
                    for writer in writers {
                        Box::pin(self.save(vec![writer])).await;
                    }
                    return;
                }
                (Err(error), _) => error,
            };
            return answer_all(writers, || Err(refused.again()));
        }
    }
}

fn answer_all(writers: Vec<Writer>, answer: impl Fn() -> Result<Saved, Error>) {
    for writer in writers {
        let _ = writer.answer.send(answer()); // whoever asked may have left
    }
}

impl Writer {
    /// Makes the changes of all one after the other. Those whose changes cannot be made are answered, and the others stay.
    fn apply_all(writers: Vec<Self>, data: &mut SessionData) -> Vec<Self> {
        let mut applied = Vec::with_capacity(writers.len());
        for writer in writers {
            match writer.apply(data) {
                Ok(()) => applied.push(writer),
                Err(error) => drop(writer.answer.send(Err(error))),
            }
        }
        applied
    }

    /// All of its changes or none. The closures among them are the application's: what goes wrong in one must not
    /// reach the other writers.
    fn apply(&self, data: &mut SessionData) -> Result<(), Error> {
        let mut changed = data.clone();
        let apply = || self.changes.iter().try_for_each(|change| change.apply(&mut changed));
        catch_unwind(AssertUnwindSafe(apply))
            .unwrap_or_else(|_| Err(Error::value("a closure given to Session::update panicked")))?;
        *data = changed;
        Ok(())
    }
}
