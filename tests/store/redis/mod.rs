//! The Redis backend against real servers: alone, in a cluster, with sentinels, with TLS, and failing.

mod doubt;
mod errors;
mod lists;
mod topology;
mod values;

use std::time::{Duration, SystemTime};

use actix_django_session::{
    Error, SessionKey,
    backend::{self, Backend, Insert, Inserted, Replace, Replaced, Row},
};

/// The backend, with short names for keys.
#[derive(Clone)]
struct Cache(backend::Redis);

fn key(name: &str) -> SessionKey {
    SessionKey::parse(&format!("session-{name}")).unwrap()
}

/// The name of a key in Redis, as Django's `cache` engine makes it.
fn stored(name: &str) -> String {
    format!(":1:django.contrib.sessions.cache{}", key(name).as_str())
}

impl Cache {
    fn key_prefix(self, prefix: &str) -> Self {
        Self(self.0.key_prefix(prefix))
    }

    fn version(self, version: u32) -> Self {
        Self(self.0.version(version))
    }

    fn timeout(self, timeout: Duration) -> Self {
        Self(self.0.timeout(timeout))
    }

    async fn get(&self, name: &str) -> Result<Option<Row>, Error> {
        self.0.get(&key(name)).await
    }

    /// Whether the key was free.
    async fn add(&self, name: &str, value: &[u8], expires: SystemTime) -> Result<bool, Error> {
        let (key, value) = (key(name), value.to_vec());
        Ok(self.0.insert(Insert::new(&key, value, expires)).await? == Inserted::Done)
    }

    async fn replace(
        &self,
        name: &str,
        expected: &[u8],
        value: &[u8],
        expires: SystemTime,
    ) -> Result<Replaced, Error> {
        let (key, expected, value) = (key(name), expected.to_vec(), value.to_vec());
        self.0.replace(Replace::new(&key, expected, expires).value(value)).await
    }

    async fn touch(&self, name: &str, expected: &[u8], expires: SystemTime) -> Result<Replaced, Error> {
        let (key, expected) = (key(name), expected.to_vec());
        self.0.replace(Replace::new(&key, expected, expires)).await
    }

    async fn rename(
        &self,
        name: &str,
        expected: &[u8],
        new_name: &str,
        value: &[u8],
        expires: SystemTime,
    ) -> Result<Replaced, Error> {
        let (key, new_key, expected, value) = (key(name), key(new_name), expected.to_vec(), value.to_vec());
        self.0.replace(Replace::new(&key, expected, expires).new_key(&new_key).value(value)).await
    }

    async fn delete(&self, name: &str) -> Result<bool, Error> {
        self.0.delete(&key(name)).await
    }
}

fn in_seconds(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

async fn connect(url: &str) -> Cache {
    Cache(backend::Redis::connect(url).await.unwrap_or_else(|error| panic!("{}", error.with_causes())))
}

/// The error of a connection that must fail, and that it tells no password.
async fn refused(url: &str) -> String {
    let error = backend::Redis::connect(url).await.expect_err("should not connect");
    let text = format!("{error:?} {}", error.with_causes());
    assert!(!text.contains("secret"), "{text}");
    error.with_causes()
}

async fn value(cache: &Cache, name: &str) -> Option<String> {
    let row = cache.get(name).await.unwrap_or_else(|error| panic!("{}", error.with_causes()))?;
    Some(String::from_utf8_lossy(&row.value.unwrap()).into_owned())
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn is_store(error: &Error) -> bool {
    error.is_store() && !error.with_causes().contains("secret")
}

/// All names, sorted.
async fn all_names(cache: &Cache) -> Result<Vec<String>, Error> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = cache.0.list(after).await?;
        for (key, row) in page.entries {
            row.unwrap();
            all.push(key.as_str().strip_prefix("session-").unwrap().to_owned());
        }
        after = page.next;
        if after.is_none() {
            all.sort();
            all.dedup();
            return Ok(all);
        }
    }
}
