//! `RedisCache` against real servers: alone, in a cluster, with sentinels, with TLS, and failing.

mod errors;
mod topology;
mod values;

use std::time::{Duration, SystemTime};

use actix_django_session::Error;
use actix_django_session::store::{Cache, RedisCache};

fn in_seconds(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

async fn connect(url: &str) -> RedisCache {
    RedisCache::connect(url).await.unwrap_or_else(|error| panic!("{}", error.with_causes()))
}

/// The error of a connection that must fail, and that it tells no password.
async fn refused(url: &str) -> String {
    let error = RedisCache::connect(url).await.expect_err("should not connect");
    let text = format!("{error:?} {}", error.with_causes());
    assert!(!text.contains("secret"), "{text}");
    error.with_causes()
}

async fn value(cache: &RedisCache, name: &str) -> Option<String> {
    let entry = cache.get(name).await.unwrap_or_else(|error| panic!("{}", error.with_causes()))?;
    Some(String::from_utf8_lossy(&entry.value).into_owned())
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn is_store(error: &Error) -> bool {
    error.is_store() && !error.with_causes().contains("secret")
}

async fn all_names(cache: &RedisCache, prefix: &str) -> Result<Vec<String>, Error> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let (some, next) = cache.names(prefix, cursor.as_deref()).await?;
        all.extend(some);
        cursor = next;
        if cursor.is_none() {
            all.sort();
            all.dedup();
            return Ok(all);
        }
    }
}
