//! Any bytes as what a cache holds under a session's name: Django's `RedisCache` and django-redis write pickles, JSON,
//! and both compressed. What cannot be read is never written over.

#![no_main]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use actix_django_session::{
    Error, Session, SessionKey,
    codec::{JsonSerializer, PickleSerializer, Serializer},
    store::{Cache, CacheStore, Entry, Loaded, Outcome, Replaced, SessionStore as _},
};
use actix_django_session_fuzz::{
    block_on, far_away, items,
    reference::{self, Inflated},
};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 10_000;

const NAME: &str = "django.contrib.sessions.cacheabcdefgh";

/// A cache in which another writer has put something.
#[derive(Clone, Default)]
struct Redis(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Redis {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> T {
        work(&mut self.0.lock().expect("one thread"))
    }

    fn value(&self, name: &str) -> Option<Vec<u8>> {
        self.with(|values| values.get(name).cloned())
    }
}

impl Cache for Redis {
    async fn get(&self, name: &str) -> Result<Option<Entry>, Error> {
        Ok(self.value(name).map(Entry::endless))
    }

    async fn add(&self, name: &str, value: &[u8], _: SystemTime) -> Result<bool, Error> {
        Ok(self.with(|values| values.insert(name.to_owned(), value.to_vec()).is_none()))
    }

    async fn replace(
        &self,
        name: &str,
        seen: &[u8],
        value: &[u8],
        end: SystemTime,
    ) -> Result<Replaced, Error> {
        self.rename(name, seen, name, value, end).await
    }

    async fn rename(
        &self,
        name: &str,
        seen: &[u8],
        new_name: &str,
        value: &[u8],
        _: SystemTime,
    ) -> Result<Replaced, Error> {
        self.with(|values| match values.get(name) {
            None => Ok(Replaced::Gone),
            Some(there) if there != seen => Ok(Replaced::Conflict(Entry::endless(there.clone()))),
            Some(_) => {
                values.remove(name);
                values.insert(new_name.to_owned(), value.to_vec());
                Ok(Replaced::Done)
            }
        })
    }

    async fn delete(&self, name: &str) -> Result<bool, Error> {
        Ok(self.with(|values| values.remove(name).is_some()))
    }

    async fn names(&self, prefix: &str, _: Option<&str>) -> Result<(Vec<String>, Option<String>), Error> {
        let names =
            self.with(|values| values.keys().filter(|name| name.starts_with(prefix)).cloned().collect());
        Ok((names, None))
    }
}

fuzz_target!(|value: &[u8]| {
    check(value, PickleSerializer, None);
    check(value, PickleSerializer, Some(0));
    check(value, JsonSerializer, None);
    check(value, JsonSerializer, Some(0));
});

fn check<S: Serializer + Clone>(value: &[u8], serializer: S, compress_from: Option<usize>) {
    let redis = Redis::default();
    redis.with(|values| values.insert(NAME.to_owned(), value.to_vec()));
    let mut store = CacheStore::new(redis.clone()).serializer(serializer.clone()).max_session_bytes(LIMIT);
    if let Some(bytes) = compress_from {
        store = store.compress_from(bytes);
    }
    let key = SessionKey::parse("abcdefgh").expect("a key");
    let record = match (block_on(store.load(&key)).expect("a cache"), expected(value, &serializer)) {
        (Loaded::Found(record), Some(items_of_it)) => {
            assert_eq!(items(&record.data), items_of_it);
            assert_eq!(record.seen.as_bytes(), value);
            Some(record)
        }
        (Loaded::Unreadable(error), None) => {
            assert!(error.is_unreadable() || error.is_too_large(), "{error}");
            None
        }
        (loaded, expected) => panic!("{loaded:?}, expected {expected:?}"),
    };
    let page = block_on(store.page(None)).expect("a cache");
    let [listed] = &page.sessions[..] else { panic!("one session is there") };
    match (&listed.data, &record) {
        (Ok(data), Some(record)) => assert_eq!(data.to_json(), record.data.to_json()),
        (Err(_), None) => {}
        _ => panic!("listed otherwise than loaded"),
    }
    match record {
        Some(record) => {
            let saved =
                block_on(store.update(&key, &record.seen, &record.data, far_away())).expect("a cache");
            match saved {
                Outcome::Saved(seen) => assert_eq!(Some(seen.as_bytes()), redis.value(NAME).as_deref()),
                other => panic!("{other:?}"),
            }
            let plain = serializer.dumps(&record.data).expect("it was written now").len();
            assert!(redis.value(NAME).is_some_and(|value| value.len() <= plain));
            match block_on(store.load(&key)).expect("a cache") {
                Loaded::Found(again) => assert_eq!(items(&again.data), items(&record.data)),
                other => panic!("{other:?}"),
            }
            // It was changed: who saw it before is too late.
            if redis.value(NAME).as_deref() != Some(value) {
                let late =
                    block_on(store.update(&key, &record.seen, &record.data, far_away())).expect("a cache");
                assert!(matches!(late, Outcome::Changed(_)));
            }
            block_on(written(&redis, &store, &key, Some(&items(&record.data))));
        }
        None => block_on(written(&redis, &store, &key, None)),
    }
}

/// The same way without the store.
fn expected(value: &[u8], serializer: &impl Serializer) -> Option<Vec<(String, String)>> {
    let plain = |bytes: &[u8]| serializer.loads(bytes.to_vec(), LIMIT).ok().map(|data| items(&data));
    if value.first() != Some(&0x78) {
        return plain(value);
    }
    match reference::inflate(value, LIMIT) {
        Inflated::Whole(bytes) => plain(&bytes),
        // What is no stream may be a pickle or JSON, though neither begins so.
        Inflated::TooLarge | Inflated::Broken => None,
    }
}

/// A visitor's request that writes.
async fn written(
    redis: &Redis,
    store: &CacheStore<Redis>,
    key: &SessionKey,
    before: Option<&[(String, String)]>,
) {
    let value = redis.value(NAME);
    let session = Session::open(store, key).await.expect("a cache");
    session.insert("who", "Ada").expect("open");
    if let Err(error) = session.save().await {
        assert!(error.is_too_large() || error.is_value(), "{error}");
        assert_eq!(redis.value(NAME), value);
        return;
    }
    let saved = session.session_key().expect("a saved session has a key");
    assert_eq!(saved == *key, before.is_some());
    if before.is_none() {
        assert_eq!(redis.value(NAME), value, "what cannot be read was written over");
    }
    let Loaded::Found(record) = store.load(&saved).await.expect("a cache") else { panic!("it was saved") };
    assert_eq!(record.data.get_json("who"), Some("\"Ada\""));
    let others: Vec<_> = items(&record.data).into_iter().filter(|(key, _)| key != "who").collect();
    let expected = before.unwrap_or_default().iter().filter(|(key, _)| key != "who").cloned();
    assert_eq!(others, expected.collect::<Vec<_>>());
}
