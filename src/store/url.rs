//! A store from a URL, as Django has an engine from a setting.

use super::Store;
#[cfg(feature = "postgres")]
use crate::backend::Postgres;
#[cfg(feature = "redis")]
use crate::backend::Redis;
#[cfg(feature = "sqlite")]
use crate::backend::Sqlite;
use crate::{
    Error, SessionSettings,
    backend::{
        Files, Memory,
        parameters::{Parameters, check_at_sign},
    },
    codec::Codec,
};

/// # By URL
impl Store {
    /// Opens the store that `url` names, and connects.
    ///
    /// | URL | Django's engine |
    /// |---|---|
    /// | `postgres://user:password@host:port/database`, `psql:…`, `pgsql:…` | `db` (feature `postgres`) |
    /// | `sqlite:///db.sqlite3`, `sqlite:////var/db` | `db` (feature `sqlite`), relative and absolute |
    /// | `redis://host:port/0`, `rediss://…`, `unix:///path` | `cache` (feature `redis`) |
    /// | `redis+cluster://…`, `redis+sentinel://…` | the same in a cluster, behind sentinels |
    /// | `cached:redis://… postgres://…` | `cached_db`: a cache, a blank, a database |
    /// | `file:///var/sessions` | `file` |
    /// | `cookie:` | `signed_cookies` |
    /// | `memory:` | `cache` on LocMem |
    ///
    /// Parameters behind a `?`:
    /// - `postgres:` those of [`Postgres::connect`];
    /// - `redis:` those of [`Redis::connect`], `serializer` (`pickle` or `json`) and `compress_from` (bytes);
    /// - `cached:` those of both URLs, and `cache_deadline` (seconds) for the cache;
    /// - `file:` `cookie_name` and `cookie_age` (seconds), for programs without the middleware;
    /// - `cookie:` `max_age` (seconds), likewise;
    /// - `memory:` `max_sessions`.
    ///
    /// Seconds may have a fraction. An unknown parameter is an error. A cache takes nothing from the codec
    /// but its limit, unless it is [`Codec::unsigned`].
    ///
    /// Errors also if the URL or the secret key cannot be right, the feature is not built in, or the server
    /// does not answer.
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::{SecretKey, Store};
    ///
    /// let store = Store::connect("memory:?max_sessions=1000", SecretKey::new("a secret")).await?;
    /// let error = Store::connect("memory:?sessions=1000", SecretKey::new("a secret")).await.unwrap_err();
    /// assert!(error.to_string().starts_with("a memory: URL has no parameter \"sessions\""));
    /// # Ok(()) }
    /// ```
    pub async fn connect(url: &str, codec: impl Into<Codec>) -> Result<Self, Error> {
        let codec = codec.into();
        codec.check()?;
        let place = UrlTarget::parse(url)?;
        place.ping().await?;
        place.store(codec)
    }

    /// Opens the store that `url` names without any I/O: the first use connects. For applications that start
    /// before their database. URLs as for [`connect`](Self::connect).
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::{SecretKey, Store};
    ///
    /// let store = Store::connect_lazy("file:///no/such/directory", SecretKey::new("a secret"))?;
    /// assert!(store.check().await.is_err());
    /// # Ok(()) }
    /// ```
    pub fn connect_lazy(url: &str, codec: impl Into<Codec>) -> Result<Self, Error> {
        let codec = codec.into();
        codec.check()?;
        UrlTarget::parse(url)?.store(codec)
    }
}

/// The place that a URL names.
enum UrlTarget {
    #[cfg(feature = "postgres")]
    Postgres(Postgres),
    #[cfg(feature = "sqlite")]
    Sqlite(Sqlite),
    #[cfg(feature = "redis")]
    Redis {
        redis: Redis,
        json: Option<bool>,
        compress_from: Option<usize>,
    },
    #[cfg(feature = "redis")]
    Cached {
        cache: Box<UrlTarget>,
        database: Box<UrlTarget>,
    },
    Files(Files, SessionSettings),
    Cookie(SessionSettings),
    Memory(Memory),
}

impl UrlTarget {
    fn parse(url: &str) -> Result<Self, Error> {
        let url = url.trim();
        for url in url.split_whitespace() {
            check_at_sign(url)?;
        }
        match scheme(url) {
            #[cfg(feature = "postgres")]
            scheme if Postgres::has_scheme(scheme) => Postgres::connect_lazy(url).map(Self::Postgres),
            #[cfg(feature = "sqlite")]
            "sqlite" => sqlite(url).map(Self::Sqlite),
            #[cfg(feature = "redis")]
            "cached" => Self::cached(url),
            #[cfg(feature = "redis")]
            scheme if is_redis(scheme) => Self::redis(url, false),
            #[cfg(not(feature = "redis"))]
            "cached" => Err(Error::configuration("a cached: URL needs the feature redis")),
            "file" => file(url),
            "cookie" => {
                let mut parameters = only_parameters(url, "cookie:")?;
                let settings = with_age(SessionSettings::default(), parameters.seconds("max_age")?);
                parameters.end("cookie:", &["max_age"])?;
                Ok(Self::Cookie(settings))
            }
            "memory" => {
                let mut parameters = only_parameters(url, "memory:")?;
                let limit = parameters.take("max_sessions")?;
                parameters.end("memory:", &["max_sessions"])?;
                Ok(Self::Memory(limit.map_or_else(Memory::new, Memory::with_max_sessions)))
            }
            _ => Err(Error::configuration(
                "no store has this kind of URL: it is postgres://… (feature postgres), sqlite://… (feature \
                 sqlite), redis://… or cached:… (feature redis), file:///…, cookie: or memory:",
            )),
        }
    }

    #[cfg(feature = "redis")]
    fn redis(url: &str, in_front: bool) -> Result<Self, Error> {
        let (address, mut theirs) = Parameters::of(url);
        let mut ours = theirs.split_off(&["serializer", "compress_from", "cache_deadline"]);
        let json = match ours.take::<String>("serializer")?.as_deref() {
            None => None,
            Some("pickle") => Some(false),
            Some("json") => Some(true),
            Some(_) => return Err(Error::configuration("the URL's parameter serializer is pickle or json")),
        };
        let (compress_from, timeout) = (ours.take("compress_from")?, ours.seconds("cache_deadline")?);
        let redis = Redis::connect_lazy(&theirs.put_back(address))?;
        let redis = match timeout {
            Some(timeout) if in_front => redis.timeout(timeout),
            Some(_) => {
                return Err(Error::configuration(
                    "cache_deadline is for a cached: URL; the URL of a cache alone has deadline",
                ));
            }
            None => redis,
        };
        Ok(Self::Redis { redis, json, compress_from })
    }

    #[cfg(feature = "redis")]
    fn cached(url: &str) -> Result<Self, Error> {
        let both = url.strip_prefix("cached:").unwrap_or(url);
        let urls: Vec<&str> = both.split_whitespace().collect();
        let [cache, database] = urls[..] else {
            return Err(Error::configuration(
                "a cached: URL contains two, of a cache and of a database: \"cached:redis://… postgres://…\"",
            ));
        };
        if !is_redis(scheme(cache)) || !(is_postgres(scheme(database)) || scheme(database) == "sqlite") {
            return Err(Error::configuration(
                "in a cached: URL the first one is a redis one, the second one postgres or sqlite",
            ));
        }
        let (cache, database) = (Self::redis(cache, true)?, Self::parse(database)?);
        Ok(Self::Cached { cache: Box::new(cache), database: Box::new(database) })
    }

    /// Errors if the place does not answer.
    async fn ping(&self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => postgres.ping().await,
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => sqlite.ping().await,
            #[cfg(feature = "redis")]
            Self::Redis { redis, .. } => redis.ping().await,
            #[cfg(feature = "redis")]
            Self::Cached { cache, database } => {
                Box::pin(database.ping()).await?;
                match Box::pin(cache.ping()).await {
                    // It fails no request later on either.
                    Err(error) if error.is_store() => {
                        let failure = error.with_causes();
                        tracing::warn!("the cache failed, and the database serves alone: {failure}");
                        Ok(())
                    }
                    other => other,
                }
            }
            Self::Files(files, _) => files.ping().await,
            Self::Cookie(_) | Self::Memory(_) => Ok(()),
        }
    }

    fn store(self, codec: Codec) -> Result<Store, Error> {
        Ok(match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(postgres) => Store::new(postgres, codec),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(sqlite) => Store::new(sqlite, codec),
            #[cfg(feature = "redis")]
            Self::Redis { redis, json, compress_from } => {
                let codec = match (codec.is_unsigned(), json) {
                    (false, json) => codec.for_cache(json.unwrap_or(false)),
                    (true, None) => codec,
                    (true, Some(_)) => {
                        return Err(Error::configuration(
                            "the serializer is told twice: leave out the URL's parameter serializer, or \
                             give a \
                             SecretKey instead of Codec::unsigned",
                        ));
                    }
                };
                Store::new(redis, compress_from.map_or(codec.clone(), |bytes| codec.compress_from(bytes)))
            }
            #[cfg(feature = "redis")]
            Self::Cached { cache, database } => {
                if codec.is_unsigned() {
                    return Err(Error::configuration(
                        "a cached: URL needs a SecretKey for the database, whose sessions are signed; for \
                         another \
                         codec in the cache use Store::cached",
                    ));
                }
                Store::cached(cache.store(codec.clone())?, database.store(codec)?)?
            }
            Self::Files(files, settings) => Store::new(files, codec).with_settings(&settings)?,
            Self::Cookie(settings) => Store::signed_cookies(codec).with_settings(&settings)?,
            Self::Memory(memory) => Store::new(memory, codec),
        })
    }
}

#[cfg(feature = "sqlite")]
fn sqlite(url: &str) -> Result<Sqlite, Error> {
    let (address, parameters) = Parameters::of(url);
    parameters.end("sqlite:", &[])?;
    let form = || {
        let text = "an SQLite URL has the form sqlite:///db.sqlite3 with a relative path, or \
             sqlite:////var/db.sqlite3 with an absolute one";
        Error::configuration(text)
    };
    // As django-environ and dj-database-url read it: the third slash ends an empty host.
    let path = address.strip_prefix("sqlite://").ok_or_else(form)?;
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() || path.ends_with('/') {
        return Err(form());
    }
    Sqlite::open_lazy(decoded(path)?)
}

fn file(url: &str) -> Result<UrlTarget, Error> {
    let (address, mut parameters) = Parameters::of(url);
    let mut settings = SessionSettings::default();
    if let Some(name) = parameters.take::<String>("cookie_name")? {
        settings = settings.cookie_name(name);
    }
    let settings = with_age(settings, parameters.seconds("cookie_age")?);
    parameters.end("file:", &["cookie_name", "cookie_age"])?;
    let directory = address.strip_prefix("file://").filter(|path| path.starts_with('/'));
    let directory = directory.ok_or_else(|| {
        Error::configuration("a file URL has the form file:///var/sessions, with an absolute path")
    })?;
    Ok(UrlTarget::Files(Files::open_lazy(decoded(directory)?)?, settings))
}

fn with_age(settings: SessionSettings, age: Option<std::time::Duration>) -> SessionSettings {
    match age {
        Some(age) => settings.cookie_age(age),
        None => settings,
    }
}

#[cfg(feature = "redis")]
fn is_postgres(scheme: &str) -> bool {
    #[cfg(feature = "postgres")]
    return Postgres::has_scheme(scheme);
    #[cfg(not(feature = "postgres"))]
    return scheme.starts_with("postgres");
}

#[cfg(feature = "redis")]
fn is_redis(scheme: &str) -> bool {
    scheme.starts_with("redis") || scheme == "unix"
}

fn scheme(url: &str) -> &str {
    url.split_once(':').map_or("", |(scheme, _)| scheme)
}

fn only_parameters(url: &str, scheme: &str) -> Result<Parameters, Error> {
    let (address, parameters) = Parameters::of(url);
    if address == scheme {
        return Ok(parameters);
    }
    Err(Error::configuration(format!("a {scheme} URL has nothing but parameters after the colon")))
}

fn decoded(path: &str) -> Result<String, Error> {
    let path = percent_encoding::percent_decode_str(path).decode_utf8();
    path.map(Into::into).map_err(|_| Error::configuration("the URL's path is not UTF-8"))
}
