//! Saves whose reply never comes. Every combination is tried of what was lost, what another writer did
//! meanwhile and what the application does next: confirmed increments and the stored number always agree.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use actix_django_session::{
    Error, SecretKey, Session, SessionKey, Store,
    backend::{
        Backend, Cursor, Files, Insert, Inserted, Memory, Page, Postgres, Redis, Replace, Replaced, Row,
        Sqlite,
    },
    codec::{Codec, JsonSerializer},
};
use deadpool_postgres::{Manager, Pool};
use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio_postgres::NoTls;

use crate::support::{at_length, postgres::Database, proc::TempDir, redis};

/// The fate of a compare-and-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Nothing,
    /// It never arrives.
    Request,
    /// It is applied, and nobody hears of it.
    Reply,
    /// It is applied before the next call.
    Late,
    /// It is applied when all is over.
    VeryLate,
    /// It never arrives, and the next call fails too.
    RequestThenAway,
    /// It is applied, nobody hears of it, and the next call fails.
    ReplyThenAway,
    /// Its caller is dropped before it is applied.
    Dropped,
    /// Its caller is dropped after it is applied.
    DroppedLater,
}

const LOSSES: [Loss; 9] = [
    Loss::Nothing,
    Loss::Request,
    Loss::Reply,
    Loss::Late,
    Loss::VeryLate,
    Loss::RequestThenAway,
    Loss::ReplyThenAway,
    Loss::Dropped,
    Loss::DroppedLater,
];

impl Loss {
    fn drops(self) -> bool {
        matches!(self, Self::Dropped | Self::DroppedLater)
    }
}

/// Another writer's action, without losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Nothing,
    /// Also stores the bytes that the lost save would have stored.
    Increments,
    /// Also stores again the bytes that were there before the lost save.
    Decrements,
    Deletes,
    Renames,
}

const OTHERS: [Other; 5] =
    [Other::Nothing, Other::Increments, Other::Decrements, Other::Deletes, Other::Renames];

/// The changes that the application saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Increments,
    Sets,
    Both,
    RenamesAndIncrements,
    RenamesAndSets,
    /// Two sessions of one key increment at the same time.
    TwoIncrement,
}

const WORKS: [Work; 6] = [
    Work::Increments,
    Work::Sets,
    Work::Both,
    Work::RenamesAndIncrements,
    Work::RenamesAndSets,
    Work::TwoIncrement,
];

/// The application's action after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    SavesAgain,
    IncrementsAgain,
    OpensAgainAndIncrements,
}

const NEXTS: [Next; 4] =
    [Next::Nothing, Next::SavesAgain, Next::IncrementsAgain, Next::OpensAgainAndIncrements];

#[derive(Clone, Copy, Debug)]
struct Case {
    work: Work,
    losses: [Loss; 2],
    others: [Other; 2],
    /// Before the first save.
    before: Other,
    next: Next,
}

/// A replace that is applied later.
struct Pending {
    key: SessionKey,
    expected: bytes::Bytes,
    new_key: Option<SessionKey>,
    value: Option<bytes::Bytes>,
    expires: SystemTime,
}

/// Passes calls on, except for the losses in its plan.
#[derive(Clone)]
struct Lossy<B> {
    backend: B,
    /// Of another writer, who has the same sessions.
    direct: Store,
    plan: Arc<Mutex<VecDeque<(Loss, Other)>>>,
    late: Arc<Mutex<Option<Pending>>>,
    very_late: Arc<Mutex<Vec<Pending>>>,
    /// The next call fails.
    away: Arc<Mutex<bool>>,
    /// Increments of the other writer, all confirmed.
    confirmed: Arc<Mutex<i64>>,
    dropped: Arc<Notify>,
}

impl<B: Backend> Lossy<B> {
    async fn apply(&self, pending: &Pending) -> Result<Replaced, Error> {
        let mut change = Replace::new(&pending.key, pending.expected.clone(), pending.expires);
        if let Some(value) = &pending.value {
            change = change.value(value.clone());
        }
        if let Some(new_key) = &pending.new_key {
            change = change.new_key(new_key);
        }
        self.backend.replace(change).await
    }

    async fn before_call(&self) -> Result<(), Error> {
        let pending = self.late.lock().unwrap().take();
        if let Some(pending) = pending {
            self.apply(&pending).await.unwrap();
        }
        match std::mem::take(&mut *self.away.lock().unwrap()) {
            true => Err(Error::store("the database is away")),
            false => Ok(()),
        }
    }

    /// From now on nothing is lost.
    fn ends(&self) {
        self.plan.lock().unwrap().clear();
        *self.away.lock().unwrap() = false;
    }

    async fn other_acts(&self, other: Other, key: &SessionKey) {
        let Some(session) = Session::open(&self.direct, key).await.unwrap() else { return };
        let by = match other {
            Other::Nothing => return,
            Other::Increments => 1,
            Other::Decrements => -1,
            Other::Deletes => session.flush().map(|()| 0).unwrap(),
            Other::Renames => session.cycle_key().map(|()| 0).unwrap(),
        };
        if by != 0 {
            session.update("n", move |n: Option<i64>| n.unwrap_or(0) + by).unwrap();
        }
        session.save().await.unwrap();
        *self.confirmed.lock().unwrap() += by;
    }
}

impl<B: Backend> Backend for Lossy<B> {
    async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
        self.before_call().await?;
        self.backend.get(key).await
    }

    async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
        self.before_call().await?;
        self.backend.insert(new).await
    }

    async fn replace(&self, change: Replace<'_>) -> Result<Replaced, Error> {
        tokio::task::yield_now().await; // so that concurrent saves meet
        self.before_call().await?;
        let (loss, other) = self.plan.lock().unwrap().pop_front().unwrap_or((Loss::Nothing, Other::Nothing));
        let pending = Pending {
            key: change.key.clone(),
            expected: change.expected.clone(),
            new_key: change.new_key.cloned(),
            value: change.value.clone(),
            expires: change.expires,
        };
        if matches!(loss, Loss::Reply | Loss::ReplyThenAway | Loss::DroppedLater) {
            self.apply(&pending).await.unwrap();
        }
        self.other_acts(other, &pending.key).await;
        match loss {
            Loss::Nothing => return self.apply(&pending).await,
            Loss::Late => *self.late.lock().unwrap() = Some(pending),
            Loss::VeryLate => self.very_late.lock().unwrap().push(pending),
            Loss::Dropped | Loss::DroppedLater => {
                self.dropped.notify_one();
                // A task that saves for several is not dropped with one of them.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
            Loss::RequestThenAway | Loss::ReplyThenAway => *self.away.lock().unwrap() = true,
            Loss::Request | Loss::Reply => {}
        }
        Ok(Replaced::Unknown)
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.before_call().await?;
        self.backend.delete(key).await
    }

    async fn list(&self, after: Option<Cursor>) -> Result<Page, Error> {
        self.backend.list(after).await
    }
}

/// A place for sessions, with the codec that belongs there.
struct Place<B> {
    name: &'static str,
    backend: B,
    codec: Codec,
}

impl<B: Backend + Clone> Place<B> {
    /// Tries every combination, and returns how many. `losses` is the number of calls in a row that may be
    /// lost.
    async fn try_all(&self, losses: usize) -> usize {
        let second: &[Loss] = if losses > 1 { &LOSSES } else { &[Loss::Nothing] };
        let mut tried = 0;
        for work in WORKS {
            for before in [Other::Nothing, Other::Increments] {
                // Of two increments a task of its own saves both: nobody drops it.
                for (first, second) in
                    LOSSES.iter().flat_map(|one| second.iter().map(move |two| (*one, *two)))
                {
                    if work == Work::TwoIncrement && (first.drops() || second.drops()) {
                        continue;
                    }
                    for other in OTHERS {
                        for next in NEXTS {
                            let case = Case {
                                work,
                                losses: [first, second],
                                others: [other, Other::Nothing],
                                before,
                                next,
                            };
                            self.run(case).await;
                            tried += 1;
                            if second != Loss::Nothing {
                                let others = [other, Other::Increments];
                                self.run(Case { others, ..case }).await;
                                tried += 1;
                            }
                        }
                    }
                }
            }
        }
        println!("{}: {tried} combinations", self.name);
        tried
    }

    async fn run(&self, case: Case) {
        let direct = Store::new(self.backend.clone(), self.codec.clone());
        let first = Session::new(&direct);
        first.insert("n", &5).unwrap();
        first.save().await.unwrap();
        let key = first.session_key().unwrap();

        let lossy = Lossy {
            backend: self.backend.clone(),
            direct: direct.clone(),
            plan: Arc::new(Mutex::new([0, 1].map(|n| (case.losses[n], case.others[n])).into())),
            late: Arc::default(),
            very_late: Arc::default(),
            away: Arc::default(),
            confirmed: Arc::default(),
            dropped: Arc::default(),
        };
        let store = Store::new(lossy.clone(), self.codec.clone());
        let sessions = match case.work {
            Work::TwoIncrement => vec![open(&store, &key).await, open(&store, &key).await],
            _ => vec![open(&store, &key).await],
        };
        lossy.other_acts(case.before, &key).await;
        let outcomes = futures_util::future::join_all(sessions.iter().map(|session| {
            change(session, case.work);
            save(session, &lossy)
        }))
        .await;
        let mut tally = Tally::default();
        for (session, outcome) in sessions.iter().zip(outcomes) {
            tally.count(&outcome, i64::from(case.work.increments()));
            if outcome.is_ok() {
                tally.sets_confirmed = true;
                continue;
            }
            // A save in a task of its own may have ended before it could be dropped.
            let _ = lossy.dropped.notified().now_or_never();
            // The next action on this session object, whose changes are kept.
            let in_doubt = outcome.is_err_and(|error| error.is_none_or(|error| error.is_in_doubt()));
            let increments = i64::from(case.work.increments());
            match case.next {
                Next::Nothing => {}
                Next::SavesAgain | Next::IncrementsAgain => {
                    let more = i64::from(case.next == Next::IncrementsAgain);
                    if more == 1 {
                        session.update("n", |n: Option<i64>| n.unwrap_or(0) + 1).unwrap();
                    }
                    lossy.ends();
                    let again = save(session, &lossy).await;
                    if in_doubt && increments == 1 {
                        let error = again.as_ref().unwrap_err().as_ref().unwrap();
                        assert!(error.is_in_doubt(), "{}: {case:?}: {error}", self.name);
                    }
                    if again.is_ok() {
                        tally.confirmed += increments + more;
                        tally.sets_confirmed = true;
                    }
                }
                Next::OpensAgainAndIncrements => {
                    lossy.ends();
                    if let Some(session) = Session::open(&store, &key).await.unwrap() {
                        session.update("n", |n: Option<i64>| n.unwrap_or(0) + 1).unwrap();
                        tally.count(&save(&session, &lossy).await, 1);
                    }
                }
            }
        }
        *lossy.away.lock().unwrap() = false;
        lossy.before_call().await.unwrap();
        let very_late: Vec<Pending> = lossy.very_late.lock().unwrap().drain(..).collect();
        for pending in very_late {
            lossy.apply(&pending).await.unwrap();
        }
        self.check(case, &direct, &lossy, &tally).await;
    }

    async fn check(&self, case: Case, direct: &Store, lossy: &Lossy<B>, tally: &Tally) {
        let mut stored = Vec::new();
        let mut sessions = direct.sessions();
        while let Some(entry) = sessions.next().await.unwrap() {
            if entry.is_expired() {
                continue;
            }
            stored.push(Session::open(direct, &entry.key).await.unwrap().unwrap());
        }
        assert!(stored.len() <= 1, "{}: {case:?}: {} sessions", self.name, stored.len());
        if let Some(session) = stored.first() {
            let n = session.get::<i64>("n").unwrap().unwrap();
            let least = 5 + *lossy.confirmed.lock().unwrap() + tally.confirmed;
            let possible = least..=least + tally.in_doubt;
            assert!(possible.contains(&n), "{}: {case:?}: {n} is stored, {possible:?} is right", self.name);
            if tally.sets_confirmed && case.work.sets() {
                assert_eq!(session.get::<i64>("a").unwrap(), Some(1), "{}: {case:?}", self.name);
            }
            session.flush().unwrap();
            session.save().await.unwrap();
        } else {
            assert!(case.others.contains(&Other::Deletes), "{}: {case:?}: the session is gone", self.name);
        }
    }
}

#[derive(Default)]
struct Tally {
    confirmed: i64,
    in_doubt: i64,
    sets_confirmed: bool,
}

impl Tally {
    fn count(&mut self, outcome: &Outcome, increments: i64) {
        match outcome {
            Ok(()) => self.confirmed += increments,
            Err(Some(error)) if !error.is_in_doubt() => {} // it is not stored
            Err(_) => self.in_doubt += increments,
        }
    }
}

impl Work {
    fn increments(self) -> bool {
        !matches!(self, Self::Sets | Self::RenamesAndSets)
    }

    fn sets(self) -> bool {
        matches!(self, Self::Sets | Self::Both | Self::RenamesAndSets)
    }

    fn renames(self) -> bool {
        matches!(self, Self::RenamesAndIncrements | Self::RenamesAndSets)
    }
}

async fn open(store: &Store, key: &SessionKey) -> Session {
    Session::open(store, key).await.unwrap().unwrap()
}

fn change(session: &Session, work: Work) {
    if work.increments() {
        session.update("n", |n: Option<i64>| n.unwrap_or(0) + 1).unwrap();
    }
    if work.sets() {
        session.insert("a", &1).unwrap();
    }
    if work.renames() {
        session.cycle_key().unwrap();
    }
}

/// `None` if the save was dropped.
type Outcome = Result<(), Option<Error>>;

async fn save<B: Backend>(session: &Session, lossy: &Lossy<B>) -> Outcome {
    tokio::select! {
        biased;
        () = lossy.dropped.notified() => Err(None),
        saved = session.save() => saved.map_err(Some),
    }
}

fn signed() -> Codec {
    SecretKey::new("a secret").into()
}

/// With values that are the same bytes whenever they are saved.
#[actix_web::test]
async fn nothing_counts_twice_in_memory() {
    let codec = Codec::unsigned(JsonSerializer);
    let memory = Place { name: "memory", backend: Memory::new(), codec };
    assert!(memory.try_all(2).await > 10_000);
}

#[actix_web::test]
async fn nothing_counts_twice_in_files() {
    let dir = TempDir::new("in-doubt");
    let backend = Files::open(dir.path()).await.unwrap();
    let losses = if at_length() { 2 } else { 1 };
    assert!(Place { name: "files", backend, codec: signed() }.try_all(losses).await > 1000);
}

#[actix_web::test]
async fn nothing_counts_twice_in_sqlite() {
    let dir = TempDir::new("in-doubt");
    let sqlite = Sqlite::open(dir.path().join("db.sqlite3")).await.unwrap();
    sqlite.create_table().await.unwrap();
    let losses = if at_length() { 2 } else { 1 };
    assert!(Place { name: "sqlite", backend: sqlite, codec: signed() }.try_all(losses).await > 1000);
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn nothing_counts_twice_in_postgres() {
    let losses = if at_length() { 2 } else { 1 };
    let database = Database::fresh();
    let own = Postgres::connect(database.url()).await.unwrap();
    own.create_table().await.unwrap();
    let pool = Pool::builder(Manager::new(database.url().parse().unwrap(), NoTls)).build().unwrap();
    let pooled = Postgres::from_pool(pool);
    for (name, backend) in [("postgres", own), ("postgres, a pool of the application's", pooled)] {
        assert!(Place { name, backend, codec: signed() }.try_all(losses).await > 1000);
    }
}

#[actix_web::test]
#[ignore = "needs Redis: run tests/run"]
async fn nothing_counts_twice_in_redis() {
    let losses = if at_length() { 2 } else { 1 };
    let server = redis::Redis::start(&[]);
    let backend = Redis::connect(&server.url()).await.unwrap();
    assert!(Place { name: "redis", backend, codec: signed() }.try_all(losses).await > 1000);
}
