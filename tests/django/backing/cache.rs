//! `SESSION_ENGINE = "django.contrib.sessions.backends.cache"`, on Redis.

use std::time::{Duration, UNIX_EPOCH};

use actix_django_session::{
    SecretKey, Store,
    backend::Redis as Engine,
    codec::{Codec, JsonSerializer, PickleSerializer},
};
use futures_util::future::LocalBoxFuture;

use super::{Backing, Row, Users, peek};
use crate::support::{
    django::Version,
    redis::{Redis, Reply},
};

const PREFIX: &str = "django.contrib.sessions.cache";

/// The site's KEY_FUNCTION, for our URL.
const TEMPLATE: &str = "prefix=site&key_template={prefix}-{key}";

#[derive(Debug)]
pub(crate) struct Cache {
    redis: Redis,
    users: Users,
    client: Client,
}

/// Django's client of Redis, with what it writes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    /// Django's own: pickles. With a prefix and a version of the site's.
    Django,
    /// django-redis: pickles of another protocol, compressed.
    Compressed,
    /// django-redis: JSON.
    Json,
    /// django-redis: compressed in a form that only the site writes, under names by its own KEY_FUNCTION.
    Gzip,
}

impl Cache {
    pub(crate) fn new(client: Client) -> Self {
        Self { redis: Redis::start(&[]), users: Users::new(), client }
    }

    /// The prefix of each key.
    fn prefix(&self) -> String {
        match self.client {
            Client::Django => format!("site:3:{PREFIX}"),
            Client::Gzip => format!("site-{PREFIX}"),
            _ => format!(":1:{PREFIX}"),
        }
    }
}

impl Backing for Cache {
    fn database_url(&self) -> String {
        self.users.url()
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let engine = ("SESSION_ENGINE", PREFIX.replace("sessions", "sessions.backends"));
        let url = ("CACHE_URL", self.redis.url());
        let of_client: &[_] = match self.client {
            Client::Django => &[("CACHE_KEY_PREFIX", "site"), ("CACHE_VERSION", "3")],
            Client::Compressed => &[("CACHE_BACKEND", "django_redis"), ("CACHE_COMPRESSOR", "zlib")],
            Client::Json => &[("CACHE_BACKEND", "django_redis"), ("CACHE_SERIALIZER", "json")],
            Client::Gzip => &[
                ("CACHE_BACKEND", "django_redis"),
                ("CACHE_COMPRESSOR", "gzip"),
                ("CACHE_KEY_PREFIX", "site"),
                ("CACHE_KEY_FUNCTION", "site_under_test.settings.without_version"),
            ],
        };
        let of_client = of_client.iter().map(|(name, value)| (*name, (*value).to_owned()));
        [engine, url].into_iter().chain(of_client).collect()
    }

    fn store(&self, secret: SecretKey) -> LocalBoxFuture<'_, Store> {
        Box::pin(async move {
            let url = self.redis.url();
            match self.client {
                Client::Django => {
                    let engine = Engine::connect(&url).await.unwrap().key_prefix("site").version(3);
                    Store::new(engine, pickles())
                }
                Client::Compressed => {
                    Store::new(Engine::connect(&url).await.unwrap(), pickles().compress_from(0))
                }
                Client::Gzip => Store::connect(&format!("{url}?{TEMPLATE}"), secret).await.unwrap(),
                Client::Json => Store::connect(&format!("{url}?serializer=json"), secret).await.unwrap(),
            }
        })
    }

    fn misled_store(&self) -> LocalBoxFuture<'_, Store> {
        Box::pin(async move {
            let engine = Engine::connect(&self.redis.url()).await.unwrap();
            match self.client {
                Client::Django => Store::new(engine.key_prefix("site").version(3), json()),
                Client::Compressed => Store::new(engine, json()),
                Client::Json => Store::new(engine, pickles()),
                Client::Gzip => {
                    let url = format!("{}?{TEMPLATE}", self.redis.url());
                    Store::new(Engine::connect(&url).await.unwrap(), json())
                }
            }
        })
    }

    fn rows(&self) -> Vec<Row> {
        values(&self.redis, &self.prefix())
    }

    /// Redis forgets them.
    fn keeps_expired(&self, _: &str) -> bool {
        false
    }

    fn json(&self, python: &Version, rows: &[Row]) -> Vec<Option<String>> {
        peek(python, rows)
    }
}

pub(super) fn pickles() -> Codec {
    Codec::unsigned(PickleSerializer::new())
}

pub(super) fn json() -> Codec {
    Codec::unsigned(JsonSerializer)
}

/// The values in Redis whose keys have this prefix.
pub(super) fn values(redis: &Redis, prefix: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for name in redis.command(&["KEYS", &format!("{prefix}*")]).array() {
        let name = name.text();
        // The key may have expired since.
        let Reply::Text(stored) = redis.command(&["GET", &name]) else { continue };
        let expires = redis.command(&["PEXPIRETIME", &name]).int();
        if expires == -2 {
            continue;
        }
        let expires = UNIX_EPOCH + Duration::from_millis(u64::try_from(expires).expect("a value that ends"));
        rows.push(Row { key: name[prefix.len()..].to_owned(), stored, expires });
    }
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    rows
}
