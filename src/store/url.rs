//! A store from a URL, as Django has an engine from a setting.

#[cfg(feature = "redis")]
use std::time::Duration;

#[cfg(feature = "postgres")]
use super::PostgresStore;
#[cfg(feature = "sqlite")]
use super::SqliteStore;
use super::{AnyStore, CookieStore, FileStore, MemoryStore, parameters::Parameters};
#[cfg(feature = "redis")]
use super::{CacheStore, CachedStore, RedisCache};
#[cfg(feature = "redis")]
use crate::codec::JsonSerializer;
use crate::{Error, codec::Codec};

/// Opens the store that `url` names.
///
/// | URL | store | parameters |
/// |---|---|---|
/// | `postgres://user:password@host:port/database` | `PostgresStore` (feature `postgres`) | those of `PostgresStore::connect` |
/// | `sqlite://db.sqlite3`, `sqlite:///var/db.sqlite3` | `SqliteStore` (feature `sqlite`), relative and absolute | |
/// | `redis://host:port/0`, `rediss://…`, `redis+cluster://…`, `redis+sentinel://…` | `CacheStore` in a `RedisCache` (feature `redis`) | `serializer` (`pickle` or `json`), `compress_from`; and those of `RedisCache::connect` |
/// | `cached:redis://… postgres://…` | [`CachedStore`](super::CachedStore): a cache, a blank, a database | as the two have, and `cache_deadline` at the cache |
/// | `file:///var/sessions` | [`FileStore`] | `cookie_name`, `cookie_age` |
/// | `cookie:` | [`CookieStore`] | `max_age` |
/// | `memory:` | [`MemoryStore`] | `max_sessions` |
///
/// Times are seconds, and may have a fraction. A parameter that the store does not know is an error.
///
/// Errors also if the URL or the secret cannot be right, its feature is not built in, or the store does not answer.
///
/// ```
/// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{SecretKey, store};
///
/// let store = store::open("memory:?max_sessions=1000", SecretKey::new("…")).await?;
/// let error = store::open("memory:?sessions=1000", SecretKey::new("…")).await.unwrap_err();
/// assert_eq!(error.to_string(), "a memory: URL has no parameter \"sessions\": it may have max_sessions");
/// # Ok(()) }
/// ```
pub async fn open(url: &str, codec: impl Into<Codec>) -> Result<AnyStore, Error> {
    let codec = codec.into();
    codec.check()?;
    let url = url.trim();
    if let Some(both) = url.strip_prefix("cached:") {
        return cached(both, codec).await;
    }
    Ok(match scheme(url) {
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => PostgresStore::connect(url, codec).await?.into(),
        #[cfg(feature = "sqlite")]
        "sqlite" => sqlite(url, codec).await?.into(),
        #[cfg(feature = "redis")]
        scheme if is_redis(scheme) => {
            let (url, options) = InCache::split_off(url)?;
            if options.deadline.is_some() {
                return Err(Error::configuration(
                    "cache_deadline is for a cached: URL; one of a cache alone has deadline",
                ));
            }
            let store =
                CacheStore::new(RedisCache::connect(&url).await?).max_session_bytes(codec.size_limit());
            let store = if options.json { store.serializer(JsonSerializer) } else { store };
            options.compress_from.map_or(store.clone(), |bytes| store.compress_from(bytes)).into()
        }
        "file" => file(url, codec).await?.into(),
        "cookie" => {
            let (rest, mut parameters) = Parameters::of(url);
            let (age, store) = (parameters.seconds("max_age")?, CookieStore::new(codec)?);
            parameters.end("cookie:", &["max_age"])?;
            nothing_but(rest, "cookie:")?;
            age.map_or(store.clone(), |age| store.max_age(age)).into()
        }
        "memory" => {
            let (rest, mut parameters) = Parameters::of(url);
            let limit = parameters.take("max_sessions")?;
            parameters.end("memory:", &["max_sessions"])?;
            nothing_but(rest, "memory:")?;
            limit.map_or_else(MemoryStore::new, MemoryStore::with_max_sessions).into()
        }
        _ => {
            return Err(Error::configuration(
                "no store has this kind of URL: it is postgres://… (feature postgres), sqlite://… (feature sqlite), \
                 redis://… or cached:… (feature redis), file:///…, cookie: or memory:",
            ));
        }
    })
}

#[cfg(feature = "sqlite")]
async fn sqlite(url: &str, codec: Codec) -> Result<SqliteStore, Error> {
    let (address, parameters) = Parameters::of(url);
    parameters.end("sqlite:", &[])?;
    match address.strip_prefix("sqlite://") {
        Some(path) if !path.is_empty() => SqliteStore::open(decoded(path)?, codec).await,
        _ => Err(Error::configuration(
            "an SQLite URL has the form sqlite://db.sqlite3 or sqlite:///var/db.sqlite3",
        )),
    }
}

async fn file(url: &str, codec: Codec) -> Result<FileStore, Error> {
    let (address, mut parameters) = Parameters::of(url);
    let name: Option<String> = parameters.take("cookie_name")?;
    let age = parameters.seconds("cookie_age")?;
    parameters.end("file:", &["cookie_name", "cookie_age"])?;
    let directory = address.strip_prefix("file://").filter(|path| path.starts_with('/'));
    let directory = directory.ok_or_else(|| {
        Error::configuration("a file URL has the form file:///var/sessions, with a whole path")
    })?;
    let mut store = FileStore::open(decoded(directory)?, codec).await?;
    if let Some(name) = name {
        store = store.cookie_name(&name)?;
    }
    Ok(age.map_or(store.clone(), |age| store.cookie_age(age)))
}

/// What a URL says of the values in the cache, beside what `RedisCache::connect` understands.
#[cfg(feature = "redis")]
struct InCache {
    json: bool,
    compress_from: Option<usize>,
    deadline: Option<Duration>,
}

#[cfg(feature = "redis")]
impl InCache {
    /// The URL without it.
    fn split_off(url: &str) -> Result<(String, Self), Error> {
        let (address, mut theirs) = Parameters::of(url);
        let mut ours = theirs.split_off(&["serializer", "compress_from", "cache_deadline"]);
        let json = match ours.take::<String>("serializer")?.as_deref() {
            None | Some("pickle") => false,
            Some("json") => true,
            Some(_) => return Err(Error::configuration("the URL's parameter serializer is pickle or json")),
        };
        let (compress_from, deadline) = (ours.take("compress_from")?, ours.seconds("cache_deadline")?);
        Ok((theirs.put_back(address), Self { json, compress_from, deadline }))
    }
}

#[cfg(feature = "redis")]
fn is_redis(scheme: &str) -> bool {
    scheme.starts_with("redis")
}

#[cfg(feature = "redis")]
async fn cached(both: &str, codec: Codec) -> Result<AnyStore, Error> {
    let urls: Vec<&str> = both.split_whitespace().collect();
    let [cache, database] = urls[..] else {
        return Err(Error::configuration(
            "a cached: URL has two in it, of a cache and of a database: \"cached:redis://… postgres://…\"",
        ));
    };
    if !is_redis(scheme(cache)) || !matches!(scheme(database), "postgres" | "postgresql" | "sqlite") {
        return Err(Error::configuration(
            "in a cached: URL the first one is a redis one, the second one postgres or sqlite",
        ));
    }
    let (cache, options) = InCache::split_off(cache)?;
    let limit = codec.size_limit();
    let database = Box::pin(open(database, codec)).await?;
    let mut store = CachedStore::new(RedisCache::connect(&cache).await?, database).max_session_bytes(limit);
    if options.json {
        store = store.serializer(JsonSerializer);
    }
    if let Some(bytes) = options.compress_from {
        store = store.compress_from(bytes);
    }
    if let Some(deadline) = options.deadline {
        store = store.cache_deadline(deadline);
    }
    Ok(store.into())
}

#[cfg(not(feature = "redis"))]
async fn cached(_: &str, _: Codec) -> Result<AnyStore, Error> {
    Err(Error::configuration("a cached: URL needs the feature redis"))
}

fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

fn nothing_but(rest: &str, scheme: &str) -> Result<(), Error> {
    if rest == scheme {
        return Ok(());
    }
    Err(Error::configuration(format!("a {scheme} URL has nothing but parameters after the colon")))
}

fn decoded(path: &str) -> Result<String, Error> {
    let path = percent_encoding::percent_decode_str(path).decode_utf8();
    path.map(Into::into).map_err(|_| Error::configuration("the URL's path is not UTF-8"))
}
