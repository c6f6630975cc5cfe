//! Writers of one session who meet are saved together, and each by himself succeeds or fails.

use std::{future::Future, thread, time::Duration};

use actix_django_session::{Error, SecretKey, Session, SessionKey, Store, backend::Memory, codec::Codec};
use tokio::task::JoinHandle;

use crate::support::gate::Gated;

/// A session of which one writer is in the middle of a save, and those that come now have to wait for it.
struct Scene {
    gate: Gated<Memory>,
    store: Store,
    key: SessionKey,
    first: JoinHandle<Result<(), Error>>,
    /// Updates so far.
    updates: usize,
}

impl Scene {
    async fn new() -> Self {
        Self::with(Codec::new(SecretKey::new("a secret"))).await
    }

    async fn with(codec: Codec) -> Self {
        let gate = Gated::new(Memory::new());
        let store = Store::new(gate.clone(), codec);
        let session = Session::new(&store);
        session.insert("list", &["created"]).unwrap();
        session.save().await.unwrap();
        let key = session.session_key().unwrap();
        // The second one finds that another was faster: from here on they meet.
        let (one, two) = (open(&store, &key).await, open(&store, &key).await);
        push(&one, "one");
        one.save().await.unwrap();
        push(&two, "two");
        let first = start(&two);
        // It stops after the save that finds this out, and again after the one that succeeds.
        gate.close("update");
        gate.reached().await;
        gate.close("update");
        gate.open();
        gate.reached().await;
        let updates = gate.count("update");
        Self { gate, store, key, first, updates }
    }

    async fn writer(&self, change: impl FnOnce(&Session)) -> Session {
        let session = open(&self.store, &self.key).await;
        change(&session);
        session
    }

    /// Lets the one in the middle go on. Returns the list, empty if the session is gone.
    async fn open(self) -> Vec<String> {
        self.gate.open();
        self.first.await.unwrap().unwrap();
        Session::open(&self.store, &self.key).await.unwrap().as_ref().map(list).unwrap_or_default()
    }
}

async fn open(store: &Store, key: &SessionKey) -> Session {
    Session::open(store, key).await.unwrap().expect("there is a session")
}

fn push(session: &Session, element: &'static str) {
    let pushed = session.update("list", move |list: Option<Vec<String>>| {
        let mut list = list.unwrap_or_default();
        list.push(element.to_owned());
        list
    });
    pushed.unwrap();
}

fn list(session: &Session) -> Vec<String> {
    session.get("list").unwrap().unwrap_or_default()
}

/// Saves in a task of its own, which is under way when this returns.
fn start(session: &Session) -> JoinHandle<Result<(), Error>> {
    let session = session.clone();
    tokio::spawn(async move { session.save().await })
}

/// Lets the others get as far as they can.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[actix_web::test]
async fn waiting_writers_are_saved_in_order_by_one_statement() {
    let scene = Scene::new().await;
    let (gate, updates) = (scene.gate.clone(), scene.updates);
    let mut saves = Vec::new();
    for element in ["three", "four", "five", "six"] {
        let session = scene.writer(|session| push(session, element)).await;
        saves.push((start(&session), session));
        settle().await;
    }
    let all = ["created", "one", "two", "three", "four", "five", "six"];
    assert_eq!(scene.open().await, all);
    let mut last = None;
    for (save, session) in saves {
        save.await.unwrap().unwrap();
        assert_eq!(list(&session), all, "each has what is stored");
        last = Some(session);
    }
    assert_eq!(gate.count("update") - updates, 1);
    // And can go on from there: nobody else came meanwhile.
    let last = last.unwrap();
    push(&last, "seven");
    last.save().await.unwrap();
    assert_eq!(gate.count("update") - updates, 2);
}

#[actix_web::test]
async fn a_closure_that_panics_or_fails_harms_only_its_own_request() {
    let scene = Scene::new().await;
    let good = scene.writer(|session| push(session, "three")).await;
    let panicking = scene
        .writer(|session| {
            let update = session.update("list", |list: Option<Vec<String>>| {
                let list = list.unwrap_or_default();
                assert_eq!(list.len(), 3, "made for what is there now");
                list
            });
            update.unwrap();
            session.insert("half", &1).unwrap();
        })
        .await;
    let failing = scene
        .writer(|session| {
            session.insert("half", &2).unwrap();
            session.update("n", |n: Option<u8>| n.unwrap_or(0)).unwrap();
        })
        .await;
    let number = scene.writer(|session| session.insert("n", "not a number").unwrap()).await;
    let late = scene.writer(|session| push(session, "four")).await;
    let mut saves = Vec::new();
    for session in [&good, &panicking, &number, &failing, &late] {
        saves.push(start(session));
        settle().await;
    }
    let (store, key) = (scene.store.clone(), scene.key.clone());
    scene.open().await;
    let mut results = Vec::new();
    for save in saves {
        results.push(save.await.unwrap().map_err(|error| error.to_string()));
    }
    assert_eq!(results[1].as_ref().unwrap_err(), "a closure given to Session::update panicked");
    assert!(results[3].as_ref().unwrap_err().contains("is not a u8"), "{results:?}");
    assert!([0, 2, 4].iter().all(|&n| results[n].is_ok()), "{results:?}");
    let stored = open(&store, &key).await;
    assert_eq!(list(&stored), ["created", "one", "two", "three", "four"]);
    assert!(!stored.contains_key("half"), "all changes of a request or none");
}

#[actix_web::test]
async fn a_writer_that_makes_the_session_too_large_fails_alone() {
    let codec = Codec::new(SecretKey::new("a secret")).max_session_bytes(200);
    let scene = Scene::with(codec).await;
    let small = scene.writer(|session| push(session, "three")).await;
    let large = scene.writer(|session| session.insert("large", &"x".repeat(300)).unwrap()).await;
    let also = scene.writer(|session| push(session, "four")).await;
    let mut saves = Vec::new();
    for session in [&small, &large, &also] {
        saves.push(start(session));
        settle().await;
    }
    let (store, key) = (scene.store.clone(), scene.key.clone());
    scene.open().await;
    let mut results = Vec::new();
    for save in saves {
        results.push(save.await.unwrap());
    }
    assert!(results[1].as_ref().unwrap_err().is_too_large(), "{results:?}");
    assert!(results[0].is_ok() && results[2].is_ok(), "{results:?}");
    assert_eq!(list(&open(&store, &key).await), ["created", "one", "two", "three", "four"]);
}

/// A new key among them: writers before it are saved under it, writers after it find the session gone.
#[actix_web::test]
async fn cycle_key_waits_its_turn() {
    let scene = Scene::new().await;
    let before = scene.writer(|session| push(session, "before")).await;
    let cycled = scene.writer(|session| session.cycle_key().unwrap()).await;
    let after = scene.writer(|session| push(session, "after")).await;
    let mut saves = Vec::new();
    for session in [&before, &cycled, &after] {
        saves.push(start(session));
        settle().await;
    }
    let (store, key) = (scene.store.clone(), scene.key.clone());
    scene.open().await;
    let mut results = Vec::new();
    for save in saves {
        results.push(save.await.unwrap());
    }
    assert!(results[0].is_ok() && results[1].is_ok(), "{results:?}");
    assert!(results[2].as_ref().unwrap_err().is_interrupted(), "{results:?}");
    assert!(Session::open(&store, &key).await.unwrap().is_none());
    let new = cycled.session_key().unwrap();
    assert_eq!(list(&open(&store, &new).await), ["created", "one", "two", "before"]);
}

#[actix_web::test]
async fn a_logout_interrupts_all_waiting_writers() {
    let scene = Scene::new().await;
    let session = scene.writer(|session| push(session, "three")).await;
    let other = scene.writer(|session| push(session, "four")).await;
    let saves = [start(&session), start(&other)];
    settle().await;
    let (store, key) = (scene.store.clone(), scene.key.clone());
    assert!(store.delete(&key).await.unwrap());
    scene.open().await;
    for save in saves {
        assert!(save.await.unwrap().unwrap_err().is_interrupted());
    }
    assert!(!store.exists(&key).await.unwrap());
}

/// The one whose save brought them together is dropped, and so is one who waits.
#[actix_web::test]
async fn a_cancelled_writer_cancels_no_other() {
    let scene = Scene::new().await;
    let stays = scene.writer(|session| push(session, "three")).await;
    let leaves = scene.writer(|session| push(session, "never")).await;
    let (save, left) = (start(&stays), start(&leaves));
    settle().await;
    scene.first.abort();
    left.abort();
    settle().await;
    scene.gate.open();
    save.await.unwrap().unwrap();
    assert_eq!(list(&open(&scene.store, &scene.key).await), ["created", "one", "two", "three"]);
}

/// The runtime of the writer that saves for others stops halfway: writers on other runtimes notice nothing.
#[test]
fn a_stopped_runtime_blocks_no_writer() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stopping = runtime();
    let scene = stopping.block_on(Scene::new());
    let session = stopping.block_on(scene.writer(|session| push(session, "three")));
    let other = {
        let session = session.clone();
        thread::spawn(move || runtime().block_on(with_deadline(session.save())))
    };
    thread::sleep(Duration::from_millis(100));
    drop(stopping);
    other.join().unwrap().unwrap();
    assert_eq!(list(&session), ["created", "one", "two", "three"]);
}

async fn with_deadline<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), work).await.expect("waits for ever")
}
