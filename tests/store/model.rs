//! Random histories of several clients on one session, checked against a model: is there an order in which
//! one after the other could have done this, each at some moment between his question and his answer?

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use actix_django_session::{Session, SessionKey, Store};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::support::{at_length, stores};

const CLIENTS: usize = 4;
const REQUESTS: usize = 4;
const KEYS: [&str; 3] = ["a", "b", "c"];

type Data = BTreeMap<&'static str, i64>;

/// The sessions there are, by their keys.
type State = BTreeMap<String, Data>;

#[derive(Clone, Debug)]
enum Change {
    Set(&'static str, i64),
    Increment(&'static str),
    Remove(&'static str),
    Clear,
}

#[derive(Clone, Debug)]
enum What {
    /// And what was there.
    Load(Option<Data>),
    /// And whether it was done, or the session was gone.
    Save(Vec<Change>, bool),
    Rename(Vec<Change>, String, bool),
    Flush,
}

/// Something that happened at some moment between these two.
#[derive(Clone, Debug)]
struct Event {
    from: u64,
    to: u64,
    key: String,
    what: What,
}

impl Change {
    fn apply(&self, data: &mut Data) {
        match self {
            Self::Set(key, value) => _ = data.insert(key, *value),
            Self::Increment(key) => *data.entry(key).or_default() += 1,
            Self::Remove(key) => _ = data.remove(key),
            Self::Clear => data.clear(),
        }
    }

    fn make(&self, session: &Session) {
        match self {
            Self::Set(key, value) => session.insert(key, value).unwrap(),
            Self::Increment(key) => _ = session.update(key, |n: Option<i64>| n.unwrap_or(0) + 1).unwrap(),
            Self::Remove(key) => _ = session.discard(key).unwrap(),
            Self::Clear => session.clear().unwrap(),
        }
    }

    fn random(rng: &mut StdRng) -> Self {
        let key = KEYS[rng.random_range(0..KEYS.len())];
        match rng.random_range(0..10) {
            0..=3 => Self::Increment(key),
            4..=7 => Self::Set(key, rng.random_range(0..1000)),
            8 => Self::Remove(key),
            _ => Self::Clear,
        }
    }
}

impl Event {
    /// The state after it, if this is what it would have seen and answered in that state.
    fn after(&self, state: &State) -> Option<State> {
        let there = state.get(&self.key);
        let changed = |changes: &[Change]| {
            let mut data = there?.clone();
            changes.iter().for_each(|change| change.apply(&mut data));
            Some(data)
        };
        let mut next = state.clone();
        match &self.what {
            What::Load(seen) => return (there == seen.as_ref()).then_some(next),
            What::Flush => _ = next.remove(&self.key),
            What::Save(_, false) | What::Rename(_, _, false) => return there.is_none().then_some(next),
            What::Save(changes, true) => _ = next.insert(self.key.clone(), changed(changes)?),
            What::Rename(changes, new, true) => {
                next.insert(new.clone(), changed(changes)?);
                next.remove(&self.key);
            }
        }
        Some(next)
    }
}

/// Whether any order explains these events.
fn explains(events: &[Event], done: u64, state: &State, seen: &mut HashSet<(u64, State)>) -> bool {
    if done.count_ones() as usize == events.len() {
        return true;
    }
    if !seen.insert((done, state.clone())) {
        return false;
    }
    let left = || (0..events.len()).filter(|n| done & (1 << n) == 0);
    let first_end = left().map(|n| events[n].to).min().unwrap_or(u64::MAX);
    left().any(|n| {
        events[n].from < first_end
            && events[n].after(state).is_some_and(|next| explains(events, done | (1 << n), &next, seen))
    })
}

/// Several clients who share the key of a session, each on a thread of a runtime.
async fn history(store: &Store, seed: u64) -> Vec<Event> {
    let clock = Arc::new(AtomicU64::new(0));
    let session = Session::new(store);
    session.insert("a", &0).unwrap();
    session.save().await.unwrap();
    let current = Arc::new(Mutex::new(session.session_key().unwrap()));
    let first = current.lock().unwrap().as_str().to_owned();
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let rng = StdRng::seed_from_u64(seed * 100 + client as u64);
            tokio::spawn(requests(store.clone(), rng, clock.clone(), current.clone()))
        })
        .collect();
    let begin = Event { from: 0, to: 0, key: first, what: What::Save(vec![Change::Set("a", 0)], true) };
    let mut events = vec![begin];
    for task in tasks {
        events.extend(task.await.unwrap());
    }
    // At the end somebody looks at all that there ever were.
    let keys: HashSet<String> = events
        .iter()
        .flat_map(|event| match &event.what {
            What::Rename(_, new, _) => vec![event.key.clone(), new.clone()],
            _ => vec![event.key.clone()],
        })
        .collect();
    for key in keys {
        let from = clock.fetch_add(1, SeqCst);
        let session = Session::open(store, &SessionKey::parse(&key).unwrap()).await.unwrap();
        let to = clock.fetch_add(1, SeqCst);
        events.push(Event { from, to, key, what: What::Load(session.as_ref().map(data)) });
    }
    events
}

fn data(session: &Session) -> Data {
    let items = session.items::<i64>().unwrap().into_iter();
    items.map(|(key, value)| (*KEYS.iter().find(|known| **known == key).unwrap(), value)).collect()
}

async fn requests(
    store: Store,
    mut rng: StdRng,
    clock: Arc<AtomicU64>,
    current: Arc<Mutex<SessionKey>>,
) -> Vec<Event> {
    let mut events = Vec::new();
    for _ in 0..REQUESTS {
        let key = current.lock().unwrap().clone();
        let from = clock.fetch_add(1, SeqCst);
        let session = Session::open(&store, &key).await.unwrap();
        let to = clock.fetch_add(1, SeqCst);
        let key = key.as_str().to_owned();
        let seen = session.as_ref().map(data);
        events.push(Event { from, to, key: key.clone(), what: What::Load(seen.clone()) });
        let Some(session) = session else { continue };
        for _ in 0..rng.random_range(0..3) {
            tokio::task::yield_now().await;
        }
        let kind = rng.random_range(0..20);
        let mut changes: Vec<Change> =
            (0..rng.random_range(1..4)).map(|_| Change::random(&mut rng)).collect();
        let mut sees = seen.unwrap_or_default();
        // To remove what one does not see is to do nothing, as in Django.
        changes.retain(|change| {
            let nothing = matches!(change, Change::Remove(key) if !sees.contains_key(key));
            change.apply(&mut sees);
            !nothing
        });
        if kind > 0 {
            changes.iter().for_each(|change| change.make(&session));
        }
        let mut new = None;
        match kind {
            0 => session.flush().unwrap(),
            1..=3 => {
                session.cycle_key().unwrap();
                new = session.session_key();
            }
            _ => {}
        }
        let from = clock.fetch_add(1, SeqCst);
        let saved = session.save().await;
        let to = clock.fetch_add(1, SeqCst);
        let done = match &saved {
            Ok(()) => true,
            Err(error) if error.is_interrupted() => false,
            Err(error) => panic!("{}", error.with_causes()),
        };
        let what = match (kind, new) {
            (0, _) => What::Flush,
            (_, None) => What::Save(changes, done),
            (_, Some(_)) => {
                let new = session.session_key().unwrap();
                if done {
                    *current.lock().unwrap() = new.clone();
                }
                What::Rename(changes, new.as_str().to_owned(), done)
            }
        };
        events.push(Event { from, to, key, what });
    }
    events
}

/// The events of one session, without those before it was there.
fn is_explained(events: &[Event]) -> bool {
    let (begin, rest) = events.split_first().unwrap();
    let state = State::from([(begin.key.clone(), Data::from([("a", 0)]))]);
    explains(rest, 0, &state, &mut HashSet::new())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn every_history_has_an_order_that_explains_it() {
    let histories = if at_length() { 3000 } else { 60 };
    for kind in stores::every().await {
        let (mut events, mut refused) = (0, 0);
        for seed in 0..histories {
            let history = history(&kind.store, seed).await;
            events += history.len();
            refused += history.iter().filter(|event| matches!(event.what, What::Save(_, false))).count();
            assert!(is_explained(&history), "{kind:?}, seed {seed}: no order explains\n{history:#?}");
        }
        println!("{kind:?}: {histories} histories, {events} events, {refused} saves too late");
    }
}

/// The checker itself: it takes what can be, and nothing else.
#[test]
fn the_checker_finds_a_lost_update_a_resurrection_and_a_stale_read() {
    let event = |from, to, what| Event { from, to, key: "k".to_owned(), what };
    let begin = event(0, 0, What::Save(vec![Change::Set("a", 0)], true));
    let increment = || What::Save(vec![Change::Increment("a")], true);
    let there = |n| What::Load(Some(Data::from([("a", n)])));
    let explained = |events: &[Event]| is_explained(&[std::slice::from_ref(&begin), events].concat());
    let both = [event(1, 4, increment()), event(2, 3, increment())];
    assert!(explained(&[both.clone().to_vec(), vec![event(5, 6, there(2))]].concat()));
    assert!(!explained(&[both.to_vec(), vec![event(5, 6, there(1))]].concat()), "a lost update");
    let ended = [event(1, 2, What::Flush), event(3, 4, increment())];
    assert!(!explained(&ended), "a resurrection");
    let refused = What::Save(vec![Change::Increment("a")], false);
    assert!(explained(&[event(1, 2, What::Flush), event(3, 4, refused.clone())]));
    assert!(!explained(&[event(1, 2, refused)]), "nobody has ended it");
    assert!(!explained(&[event(1, 2, increment()), event(3, 4, there(0))]), "a stale read");
    assert!(explained(&[event(1, 4, increment()), event(2, 3, there(0))]), "it may have come before");
    let rename = What::Rename(vec![], "new".to_owned(), true);
    assert!(!explained(&[event(1, 2, rename.clone()), event(3, 4, there(0))]), "two of one");
    assert!(explained(&[event(1, 2, rename), event(3, 4, What::Load(None))]));
}
