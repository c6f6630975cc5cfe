//! Large sessions are encoded and decoded beside the worker, which serves other requests meanwhile.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, SystemTime},
};

use actix_django_session::{
    SecretKey, Session, Store,
    backend::{Backend as _, Insert, Memory},
    codec::{Codec, PickleSerializer},
};
use actix_web::rt::spawn;

/// How often another task of this worker has its turn while `work` runs.
async fn turns_beside<T>(work: impl Future<Output = T>) -> (T, usize) {
    let (turns, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
    let (counter, end) = (turns.clone(), done.clone());
    let other = spawn(async move {
        while !end.get() {
            counter.set(counter.get() + 1);
            tokio::task::yield_now().await;
        }
    });
    let result = work.await;
    done.set(true);
    let turns = turns.get();
    other.await.unwrap();
    (result, turns)
}

fn stores() -> [(&'static str, Store); 2] {
    [
        ("signed", Store::new(Memory::new(), SecretKey::new("a secret"))),
        ("pickle", Store::new(Memory::new(), Codec::unsigned(PickleSerializer::new()))),
    ]
}

/// Saves and loads a session of about so many bytes. Returns the turns of others beside a load and a save.
async fn turns_of_others(store: &Store, bytes: usize) -> [usize; 2] {
    let session = Session::new(store);
    for n in 0..bytes / 1000 {
        session.insert(&format!("key {n}"), &format!("{n:0980}")).unwrap();
    }
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let (opened, load) = turns_beside(Session::open(store, &key)).await;
    let session = opened.unwrap().unwrap();
    session.insert("n", &1).unwrap();
    let (saved, save) = turns_beside(session.save()).await;
    saved.unwrap();
    let again = Session::open(store, &key).await.unwrap().unwrap();
    assert_eq!(again.get::<u32>("n").unwrap(), Some(1));
    assert_eq!(again.keys().len(), bytes / 1000 + 1);
    [load, save]
}

#[actix_web::test]
async fn a_large_session_leaves_the_worker_to_others() {
    for (name, store) in stores() {
        let [load, save] = turns_of_others(&store, 2 << 20).await;
        println!("{name}: {load} turns of others beside a load, {save} beside a save");
        assert!(load > 1 && save > 1, "{name}: {load}, {save}");
    }
}

#[actix_web::test]
async fn a_small_session_needs_no_other_thread() {
    for (name, store) in stores() {
        assert_eq!(turns_of_others(&store, 20_000).await, [0, 0], "{name}");
    }
}

/// Its stored value is small.
#[actix_web::test]
async fn a_session_that_grows_leaves_the_worker_to_others() {
    let memory = Memory::new();
    let codec = Codec::unsigned(PickleSerializer::new()).compress_from(0);
    let store = Store::new(memory.clone(), codec.clone());
    let text = "a".repeat(2 << 20);
    let data = actix_django_session::codec::SessionData::from_json(format!("{{\"a\":\"{text}\"}}")).unwrap();
    let value = codec.encode(&data).unwrap();
    assert!(value.len() < 60_000);
    let key = memory.generate_key(None);
    memory.insert(Insert::new(&key, value, SystemTime::now() + Duration::from_secs(60))).await.unwrap();
    let (opened, turns) = turns_beside(Session::open(&store, &key)).await;
    assert_eq!(opened.unwrap().unwrap().get::<String>("a").unwrap(), Some(text));
    assert!(turns > 1, "{turns}");
}

/// Without a runtime there is no other thread.
#[test]
fn a_large_session_needs_no_runtime() {
    let store = Store::new(Memory::new(), SecretKey::new("a secret"));
    let session = Session::new(&store);
    session.insert("a", &"a".repeat(1 << 20)).unwrap();
    futures_util::FutureExt::now_or_never(session.save()).unwrap().unwrap();
    let key = session.session_key().unwrap();
    let opened =
        futures_util::FutureExt::now_or_never(Session::open(&store, &key)).unwrap().unwrap().unwrap();
    assert_eq!(opened.get::<String>("a").unwrap().map(|text| text.len()), Some(1 << 20));
}
