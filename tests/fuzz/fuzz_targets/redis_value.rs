//! Any bytes as a session's value in a cache: Django's `RedisCache` and django-redis write pickles, JSON, and
//! both compressed. An unreadable value is never overwritten.

#![no_main]

use actix_django_session::{
    Session, SessionKey, SessionSettings, Store,
    backend::{Backend as _, Insert, Memory, Replace, Replaced},
    codec::{Codec, JsonSerializer, PickleSerializer, Serializer},
};
use actix_django_session_fuzz::{
    block_on, far_away, items, kept,
    reference::{self, Inflated},
    site::{KNOWN, Pages},
};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 10_000;

thread_local! {
    static PICKLES: [&'static Cache; 2] = Cache::both(PickleSerializer::new());
    static JSON: [&'static Cache; 2] = Cache::both(JsonSerializer);
}

fuzz_target!(|value: &[u8]| {
    PICKLES.with(|both| both.map(|cache| check(cache, value, &PickleSerializer::new())));
    JSON.with(|both| both.map(|cache| check(cache, value, &JsonSerializer)));
});

/// A cache in which another writer puts something, and a site whose sessions it has.
struct Cache {
    memory: Memory,
    store: Store,
    pages: Pages,
    key: SessionKey,
}

impl Cache {
    /// A cache that compresses nothing, and a cache that compresses everything.
    fn both(serializer: impl Serializer) -> [&'static Self; 2] {
        let codec = Codec::unsigned(serializer).max_session_bytes(LIMIT);
        [codec.clone(), codec.compress_from(0)].map(|codec| {
            let memory = Memory::new();
            let store = Store::new(memory.clone(), codec);
            let pages = Pages::new(store.clone(), SessionSettings::default());
            kept(Self { memory, store, pages, key: SessionKey::parse(KNOWN).expect("a key") })
        })
    }

    fn put(&self, value: &[u8]) {
        block_on(self.memory.delete(&self.key)).expect("memory");
        block_on(self.memory.insert(Insert::new(&self.key, value.to_vec(), far_away()))).expect("memory");
    }

    fn value(&self) -> Option<Vec<u8>> {
        Some(block_on(self.memory.get(&self.key)).expect("memory")?.value?.to_vec())
    }

    fn open(&self) -> Session {
        block_on(Session::open(&self.store, &self.key)).expect("it can be read").expect("it is there")
    }

    fn items(&self, key: &SessionKey) -> Option<Vec<(String, String)>> {
        let entry = block_on(self.store.entry(key)).expect("memory").expect("it is there");
        entry.data.as_ref().ok().map(items)
    }
}

fn check(cache: &Cache, value: &[u8], serializer: &impl Serializer) {
    cache.put(value);
    let expected = expected(value, serializer);
    let listed = block_on(cache.store.sessions().next()).expect("memory").expect("one session is there");
    assert_eq!(listed.value.as_deref(), Some(value));
    assert_eq!(listed.data.as_ref().ok().map(items), expected);
    assert_eq!(cache.items(&cache.key), expected);
    match (block_on(Session::open(&cache.store, &cache.key)), expected) {
        (Ok(Some(session)), Some(before)) => {
            saved_as_it_is(cache, &session, serializer, &before);
            written(cache, value, &before);
        }
        (Err(error), None) => {
            assert!(error.is_unreadable() || error.is_too_large(), "{error}");
            let beside = cache.pages.write_as_known();
            assert_ne!(beside, KNOWN, "a write begins a session beside it");
            assert_eq!(cache.value().as_deref(), Some(value), "what cannot be read was written over");
            let beside = SessionKey::parse(&beside).expect("a key");
            assert_eq!(cache.items(&beside), Some(vec![("who".to_owned(), "\"Ada\"".to_owned())]));
            assert!(block_on(cache.memory.delete(&beside)).expect("memory"));
        }
        (opened, expected) => panic!("{opened:?}, expected {expected:?}"),
    }
}

/// Saved without a change of its own, it is as it was, and not longer than without compression.
fn saved_as_it_is(
    cache: &Cache,
    session: &Session,
    serializer: &impl Serializer,
    before: &[(String, String)],
) {
    let late = cache.open();
    session.set_modified().expect("open");
    if let Err(error) = block_on(session.save()) {
        panic!("{error}");
    }
    assert_eq!(cache.items(&cache.key).as_deref(), Some(before));
    let listed = block_on(cache.store.entry(&cache.key)).expect("memory").expect("it is there");
    let plain = serializer.dumps(&listed.data.expect("it was written now")).expect("the same again").len();
    let stored = cache.value().expect("it is there");
    assert!(stored.len() <= plain);
    // A replacement of an outdated value conflicts; a late save merges.
    let change = Replace::new(&cache.key, "another value", far_away());
    let refused = block_on(cache.memory.replace(change)).expect("memory");
    assert!(matches!(refused, Replaced::Conflict(_)));
    late.set_modified().expect("open");
    block_on(late.save()).expect("the same again");
    assert_eq!(cache.items(&cache.key).as_deref(), Some(before));
    assert_eq!(cache.value(), Some(stored));
}

/// The same way without the store.
fn expected(value: &[u8], serializer: &impl Serializer) -> Option<Vec<(String, String)>> {
    let plain = |bytes: &[u8]| serializer.loads(bytes.to_vec(), LIMIT).ok().map(|data| items(&data));
    if value.first() != Some(&0x78) {
        return plain(value);
    }
    match reference::inflate(value, LIMIT) {
        Inflated::Whole(bytes) => plain(&bytes),
        // Neither a pickle nor JSON begins with this byte, so a broken stream is unreadable.
        Inflated::TooLarge | Inflated::Broken => None,
    }
}

/// A visitor's request that writes.
fn written(cache: &Cache, first: &[u8], before: &[(String, String)]) {
    let (value, session) = (cache.value(), cache.open());
    session.insert("who", "Ada").expect("open");
    if let Err(error) = block_on(session.save()) {
        assert!(error.is_too_large() || error.is_value(), "{error} after {first:?}");
        assert_eq!(cache.value(), value);
        return;
    }
    assert_eq!(session.session_key().as_ref(), Some(&cache.key));
    let (who, others): (Vec<_>, Vec<_>) =
        cache.items(&cache.key).expect("it was saved").into_iter().partition(|(key, _)| key == "who");
    assert_eq!(who, [("who".to_owned(), "\"Ada\"".to_owned())]);
    let expected = before.iter().filter(|(key, _)| key != "who").cloned();
    assert_eq!(others, expected.collect::<Vec<_>>());
}
