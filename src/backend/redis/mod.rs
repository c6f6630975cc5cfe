//! Redis as a cache, with the names that Django gives: one server, a cluster, or what sentinels watch over.

mod client;
mod error;
mod owners;
mod request;
mod server;
mod slots;
mod tls;
mod url;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use redis::Value;

use self::{
    client::{Answer, Client},
    error::Failure,
    request::{RENAME, REPLACE, Request, entry_of, milliseconds, pattern, replaced},
    slots::slot,
    url::Settings,
};
use super::{Cache, Entry, Replaced};
use crate::Error;

/// A cache in Redis (or Valkey, KeyDB, …), shared with Django sites. Django's `RedisCache`, and django-redis.
///
/// One connection for each thread that serves requests carries all of its operations; one that is lost is replaced.
/// Every operation is one round trip. Replacing and renaming are scripts, so that nobody comes between
/// looking and writing. Clones share connections.
///
/// ```no_run
/// # async fn connect() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::store::RedisCache;
///
/// let cache = RedisCache::connect("redis://:password@localhost:6379/1?prefix=site").await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisCache {
    client: Arc<Client>,
    prefix: Arc<str>,
    version: u32,
    /// What all names begin with, made of the two.
    front: Arc<str>,
    deadline: Duration,
}

impl RedisCache {
    /// Connects to the Redis that the URL names:
    ///
    /// | URL | |
    /// |---|---|
    /// | `redis://user:password@host:6379/0` | one server; all but the host may be left out |
    /// | `redis+unix:///run/redis.sock` | one server on this machine |
    /// | `redis+cluster://host:6379,host:6379` | a Redis Cluster, of which these are some servers |
    /// | `redis+sentinel://host:26379,host:26379/master/0` | the master that these sentinels watch |
    /// | `rediss://…`, `rediss+cluster://…`, `rediss+sentinel://…` | the same over TLS, with the feature `tls` |
    ///
    /// Parameters behind a `?`: `prefix` and `version`, Django's `KEY_PREFIX` and `VERSION`; `db`, the number of the
    /// database; `deadline` in seconds; `ca`, a file of the certificates to trust with TLS, if they are not those of this
    /// machine. Characters of user and password other than letters, digits and `-._~` are written as `%XX`.
    ///
    /// Errors if the URL cannot be right or Redis does not answer.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let Settings { target, prefix, version, deadline } = url::parse(url)?;
        let client = Arc::new(Client::new(target));
        let front = front(&prefix, version);
        let cache = Self { client, prefix: prefix.into(), version, front, deadline };
        cache.check().await?;
        Ok(cache)
    }

    /// Django's `KEY_PREFIX`. Default: empty.
    #[must_use]
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self.front = front(prefix, self.version);
        self
    }

    /// Django's `VERSION`, a part of every name. Default: 1.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self.front = front(&self.prefix, version);
        self
    }

    /// How long one operation may take, from waiting for a connection to the answer. Default: 5 seconds.
    /// After that it is an error that answers 503.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.front)
    }

    async fn ask(&self, what: &'static str, request: Request) -> Result<Answer, Error> {
        self.client.ask(self.deadline, request).await.map_err(|failure| failure.explain(what))
    }

    async fn one(&self, what: &'static str, request: Request) -> Result<(Value, bool), Error> {
        let Answer { mut values, repeated } = self.ask(what, request).await?;
        values.pop().filter(|_| values.is_empty()).map(|value| (value, repeated)).ok_or_else(|| odd(what))
    }

    /// Whether it holds what an attempt stored whose answer was lost.
    async fn holds(&self, name: &str, value: &[u8]) -> Result<bool, Error> {
        Ok(self.get(name).await?.is_some_and(|entry| *entry.value == *value))
    }
}

/// Django's key function.
fn front(prefix: &str, version: u32) -> Arc<str> {
    format!("{prefix}:{version}:").into()
}

impl Cache for RedisCache {
    async fn get(&self, name: &str) -> Result<Option<Entry>, Error> {
        const WHAT: &str = "read from the cache";
        let answer = self.ask(WHAT, Request::get(&self.key(name))).await?;
        entry_of(answer.values).ok_or_else(|| odd(WHAT))
    }

    async fn add(&self, name: &str, value: &[u8], expires: SystemTime) -> Result<bool, Error> {
        const WHAT: &str = "write to the cache";
        let (key, left) = (self.key(name), milliseconds(expires));
        if left == 0 {
            let (there, _) = self.one(WHAT, Request::about(&key, "EXISTS", &[])).await?;
            return Ok(there == Value::Int(0));
        }
        let left = left.to_string();
        let request = Request::about(&key, "SET", &[value, b"PX", left.as_bytes(), b"NX"]);
        match self.one(WHAT, request).await? {
            (Value::Okay, _) => Ok(true),
            (Value::Nil, false) => Ok(false),
            (Value::Nil, true) => self.holds(name, value).await,
            _ => Err(odd(WHAT)),
        }
    }

    async fn replace(
        &self,
        name: &str,
        seen: &[u8],
        value: &[u8],
        expires: SystemTime,
    ) -> Result<Replaced, Error> {
        const WHAT: &str = "write to the cache";
        let left = milliseconds(expires);
        let request =
            Request::script(REPLACE, &[&self.key(name)], &[seen, value, left.to_string().as_bytes()]);
        let Answer { values, repeated } = self.ask(WHAT, request).await?;
        match replaced(values).ok_or_else(|| odd(WHAT))? {
            // It was the first attempt that did it.
            Replaced::Changed(there) if repeated && *there.value == *value => Ok(Replaced::Done),
            Replaced::Gone if repeated && left == 0 => Ok(Replaced::Done),
            other => Ok(other),
        }
    }

    async fn rename(
        &self,
        name: &str,
        seen: &[u8],
        new_name: &str,
        value: &[u8],
        expires: SystemTime,
    ) -> Result<Replaced, Error> {
        const WHAT: &str = "rename in the cache";
        if name == new_name {
            return self.replace(name, seen, value, expires).await;
        }
        let left = milliseconds(expires);
        let keys: &[&str] = &[&self.key(name), &self.key(new_name)];
        let request = Request::script(RENAME, keys, &[seen, value, left.to_string().as_bytes()]);
        let Answer { values, repeated } = self.ask(WHAT, request).await?;
        match replaced(values).ok_or_else(|| odd(WHAT))? {
            // It was the first attempt that did it.
            Replaced::Gone if repeated && (left == 0 || self.holds(new_name, value).await?) => {
                Ok(Replaced::Done)
            }
            other => Ok(other),
        }
    }

    async fn delete(&self, name: &str) -> Result<bool, Error> {
        const WHAT: &str = "delete from the cache";
        match self.one(WHAT, Request::about(&self.key(name), "DEL", &[])).await? {
            (Value::Int(count), _) => Ok(count > 0),
            _ => Err(odd(WHAT)),
        }
    }

    fn is_near(&self, name: &str, new_name: &str) -> bool {
        !self.client.is_cluster() || slot(self.key(name).as_bytes()) == slot(self.key(new_name).as_bytes())
    }

    /// The cursor says which server, where in it, and what the servers were when it began.
    async fn names(
        &self,
        prefix: &str,
        cursor: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), Error> {
        const WHAT: &str = "list the names in the cache";
        let owners = self.client.owners(self.deadline).await.map_err(|failure| failure.explain(WHAT))?;
        let fingerprint = owners.fingerprint();
        let (index, at) = match cursor {
            None => (0, 0),
            Some(cursor) => {
                let (index, at, before) = parse_cursor(cursor).ok_or_else(|| {
                    Error::store(format!("cannot {WHAT}: the cursor is none that an earlier call gave"))
                })?;
                if before != fingerprint {
                    return Err(Error::store(format!(
                        "cannot {WHAT}: the servers of Redis changed meanwhile, so that some could be missed; begin again"
                    )));
                }
                (index, at)
            }
        };
        let servers = owners.all();
        let Some(server) = servers.get(index) else { return Ok((Vec::new(), None)) };
        let (at, pattern) = (at.to_string(), pattern(&self.key(prefix)));
        let scan: &[&[u8]] = &[b"SCAN", at.as_bytes(), b"MATCH", pattern.as_bytes(), b"COUNT", b"500"];
        let (answer, _) = self.one(WHAT, Request::to(server.clone(), scan)).await?;
        let (at, keys): (u64, Vec<Vec<u8>>) = redis::from_redis_value(answer).map_err(|_| odd(WHAT))?;
        // A name of ours is text.
        let keys = keys.into_iter().filter_map(|key| String::from_utf8(key).ok());
        let names = keys.filter_map(|key| key.strip_prefix(&*self.front).map(str::to_owned)).collect();
        let next = match at {
            0 => (index + 1 < servers.len()).then_some((index + 1, 0)),
            at => Some((index, at)),
        };
        Ok((names, next.map(|(index, at)| format!("{index}.{at}.{fingerprint}"))))
    }

    /// Every server answers, and lets us delete and run scripts.
    async fn check(&self) -> Result<(), Error> {
        const WHAT: &str = "use Redis as a cache";
        let owners = self.client.owners(self.deadline).await.map_err(|failure| failure.explain(WHAT))?;
        for server in owners.all() {
            let _ = self.one(WHAT, Request::to(server, &[b"PING"])).await?;
        }
        // No session has this name, since its key would be empty.
        let key = self.key("django.contrib.sessions.cache");
        let delete = Request::about(&key, "DEL", &[]);
        for request in [delete, Request::script(REPLACE, &[&key], &[b"", b"", b"0"])] {
            match self.client.ask(self.deadline, request).await {
                // A user who has other names only may do the same with them.
                Err(Failure::Refused(refusal)) if refusal.is_about_a_key() => {}
                other => drop(other.map_err(|failure| failure.explain(WHAT))?),
            }
        }
        Ok(())
    }

    fn deadline(&self) -> Duration {
        self.deadline
    }
}

fn parse_cursor(cursor: &str) -> Option<(usize, u64, u64)> {
    let mut parts = cursor.split('.');
    let all = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(all)
}

/// An answer that the command does not have.
fn odd(what: &str) -> Error {
    Error::store(format!("cannot {what}: Redis gave an answer that it has never given; is it Redis?"))
}

impl fmt::Debug for RedisCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisCache")
            .field("client", &self.client)
            .field("key_prefix", &self.prefix)
            .field("version", &self.version)
            .field("deadline", &self.deadline)
            .finish()
    }
}
