//! Sessions in Redis, under Django's names: one server, a cluster, or a master that sentinels watch.

mod call;
mod client;
mod connection;
mod error;
mod names;
mod pool;
mod scan;
mod slots;
mod stream;
mod tls;
mod topology;
mod url;

use std::{fmt, slice, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use redis::Value;

use self::{
    call::{Call, Reply, milliseconds, replaced, row_of},
    client::Client,
    error::CallError,
    names::KeyNames,
    scan::{Position, scan},
    slots::{key_in_slot, slot},
    url::RedisUrl,
};
use super::{Backend, Cursor, Insert, Inserted, Page, Replace, Replaced, Row, SiteSettings};
use crate::{Error, SessionKey};

/// Alone, and in front of a database: where the database can answer instead, waiting is worth less.
const TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT_IN_FRONT: Duration = Duration::from_millis(500);

/// How many values are read at the same time for a page, and how many bytes a page may have.
const PAGE_READS: usize = 32;
const PAGE_BYTES: usize = 4 << 20;

/// Sessions in Redis (or Valkey, KeyDB, …), shared with Django sites. Django's `RedisCache`, and
/// django-redis.
///
/// Alone it is Django's `cache` engine: as fast as Redis, and gone when Redis forgets them. In front of a
/// database ([`Store::cached`](crate::Store::cached)) it is `cached_db`. Values are not signed, as in Django:
/// whoever can write to this Redis can impersonate any user.
///
/// One connection for each thread that serves requests carries all calls; a lost one is replaced. Every call
/// is one round trip. [`replace`](Backend::replace) is a script, so that it is atomic. Clones share
/// connections.
///
/// ```no_run
/// # async fn connect() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{Store, backend::Redis, codec::{Codec, PickleSerializer}};
///
/// let redis = Redis::connect("redis://:password@localhost:6379/1?prefix=site").await?;
/// let store = Store::new(redis, Codec::unsigned(PickleSerializer::new()));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Redis {
    client: Arc<Client>,
    names: KeyNames,
    timeout: Option<Duration>,
    max_value_bytes: usize,
}

impl Redis {
    /// Connects to the Redis that the URL names:
    ///
    /// | URL | |
    /// |---|---|
    /// | `redis://user:password@host:6379/0` | one server; everything but the host may be left out |
    /// | `unix:///run/redis.sock` | one server on this machine |
    /// | `redis+cluster://host:6379,host:6379` | a Redis Cluster, of which these are some servers |
    /// | `redis+sentinel://host:26379,host:26379/master/0` | the master that these sentinels watch |
    /// | `rediss://…`, `rediss+cluster://…`, `rediss+sentinel://…` | the same over TLS (feature `tls`) |
    ///
    /// Parameters: `prefix` and `version`, Django's `KEY_PREFIX` and `VERSION`;
    /// [`key_template`](Self::key_template); `db`, the number of the database; `deadline`, the
    /// [`timeout`](Self::timeout) in seconds; `ca` (or `ssl_ca_certs`), a file of certificates to trust with
    /// TLS instead of those of this machine; `ssl_cert_reqs=none`, with which any certificate is trusted, so
    /// that the connection is encrypted but the server not authenticated. Characters of user and password
    /// other than letters, digits and `-._~` are written as `%XX`.
    ///
    /// Errors if the URL cannot be right, if Redis does not answer, or if the user lacks a right.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let redis = Self::connect_lazy(url)?;
        redis.ping().await?;
        Ok(redis)
    }

    /// The same without any I/O: the first call connects. Errors if the URL cannot be right.
    ///
    /// ```
    /// use actix_django_session::backend::Redis;
    ///
    /// assert!(Redis::connect_lazy("redis://cache.example/1?prefix=site").is_ok());
    /// assert!(Redis::connect_lazy("redis://cache.example/one").unwrap_err().is_configuration());
    /// ```
    pub fn connect_lazy(url: &str) -> Result<Self, Error> {
        let RedisUrl { config, prefix, version, key_template, timeout } = url::parse(url)?;
        let head = key_template.map_or(Ok(names::DEFAULT_HEAD.into()), |template| names::head(&template))?;
        let names = KeyNames { key_prefix: prefix.into(), version, head, in_front: false };
        let max_value_bytes = SiteSettings::default().max_value_bytes;
        Ok(Self { client: Arc::new(Client::new(config)), names, timeout, max_value_bytes })
    }

    /// Django's `KEY_PREFIX`. Default: empty.
    #[must_use]
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        self.names.key_prefix = prefix.into();
        self
    }

    /// Django's `VERSION`, a part of every name in Redis. Default: 1.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.names.version = version;
        self
    }

    /// For a site with a `KEY_FUNCTION` of its own: what it returns, with `{prefix}` (`KEY_PREFIX`),
    /// `{version}` and `{key}` in the place of its arguments. Default: `{prefix}:{version}:{key}`, as in
    /// Django.
    ///
    /// Errors unless `{key}` is the end of it.
    ///
    /// ```
    /// use actix_django_session::backend::Redis;
    ///
    /// // KEY_FUNCTION = lambda key, key_prefix, version: f"{key_prefix}-{key}"
    /// let redis = Redis::connect_lazy("redis://cache.example/1?prefix=site")?;
    /// let redis = redis.key_template("{prefix}-{key}")?;
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn key_template(mut self, template: &str) -> Result<Self, Error> {
        self.names.head = names::head(template)?;
        Ok(self)
    }

    /// How long one call may take, from the wait for a connection to the reply. Afterwards it is an error
    /// that answers 503. Default: 5 seconds; in front of a database 500 ms.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    pub(crate) async fn ping(&self) -> Result<(), Error> {
        self.check().await
    }

    async fn call(&self, action: &str, call: Call) -> Result<Reply, Error> {
        let called = self.client.call(Backend::save_timeout(self), call).await;
        called.map_err(|error| error.explain(action))
    }

    /// Makes a call of one command. Returns its reply, and whether it was sent twice.
    async fn call_one(&self, action: &str, call: Call) -> Result<(Value, bool), Error> {
        let Reply { mut values, repeated } = self.call(action, call).await?;
        values.pop().map(|value| (value, repeated)).ok_or_else(|| unexpected(action))
    }

    async fn read(&self, action: &str, name: &str) -> Result<Option<Row>, Error> {
        let row = row_of(self.call(action, Call::get(name)).await?.values);
        Ok(row.ok_or_else(|| unexpected(action))?.map(|row| self.bounded(row)))
    }

    fn bounded(&self, row: Row) -> Row {
        let too_large = row.value.as_ref().is_some_and(|value| value.len() > self.max_value_bytes);
        if too_large { Row::too_large(row.expires) } else { row }
    }

    /// Whether `key` has this value now, as after a change whose reply was lost.
    async fn holds(&self, key: &SessionKey, value: &[u8]) -> Result<bool, Error> {
        let row = self.get(key).await?;
        Ok(row.and_then(|row| row.value).is_some_and(|now| now == value))
    }

    /// Reads the values of a page; `None` if they are too many bytes.
    async fn rows(&self, names: &[String], max_bytes: usize) -> Result<Option<Vec<PageEntry>>, Error> {
        let (mut entries, mut bytes) = (Vec::with_capacity(names.len()), 0);
        for names in names.chunks(PAGE_READS) {
            let names = names.iter().filter_map(|name| Some((name, self.names.key(name)?)));
            let rows = names.map(async |(name, key)| {
                let row = self.read(scan::ACTION, name).await;
                row.map(|row| (key, row))
            });
            for (key, row) in try_join_all(rows).await? {
                let Some(row) = row else { continue }; // it has expired meanwhile
                bytes += row.value.as_ref().map_or(0, |value| value.len());
                entries.push((key, Ok(row)));
            }
            if bytes > max_bytes {
                return Ok(None);
            }
        }
        Ok(Some(entries))
    }
}

type PageEntry = (SessionKey, Result<Row, Error>);

impl Backend for Redis {
    async fn get(&self, key: &SessionKey) -> Result<Option<Row>, Error> {
        match self.names.name(key) {
            Some(name) => self.read("read from Redis", &name).await,
            None => Ok(None),
        }
    }

    async fn insert(&self, new: Insert<'_>) -> Result<Inserted, Error> {
        const ACTION: &str = "write to Redis";
        let (name, time) = (self.names.own_name(new.key)?, milliseconds(new.expires));
        if time == 0 {
            // Nothing to store: Redis would delete it at once.
            let (count, _) = self.call_one(ACTION, Call::on_key("EXISTS", &name, &[])).await?;
            return Ok(if count == Value::Int(0) { Inserted::Done } else { Inserted::KeyTaken });
        }
        let time = time.to_string();
        let set = Call::on_key("SET", &name, &[&new.value, b"PX", time.as_bytes(), b"NX"]);
        match self.call_one(ACTION, set).await? {
            (Value::Okay, _) => Ok(Inserted::Done),
            // After a lost reply the value may be our own.
            (Value::Nil, true) if self.holds(new.key, &new.value).await? => Ok(Inserted::Done),
            (Value::Nil, _) => Ok(Inserted::KeyTaken),
            _ => Err(unexpected(ACTION)),
        }
    }

    async fn replace(&self, change: Replace<'_>) -> Result<Replaced, Error> {
        const ACTION: &str = "write to Redis";
        let Replace { key, expected, new_key, value, expires } = change;
        let new_key = new_key.filter(|new_key| *new_key != key);
        let Some(name) = self.names.name(key) else { return Ok(Replaced::Gone) };
        let mut names = vec![name];
        if let Some(new_key) = new_key {
            names.push(self.names.own_name(new_key)?);
        }
        let time = milliseconds(expires);
        let milliseconds = time.to_string();
        let mut arguments = vec![&expected[..], milliseconds.as_bytes()];
        arguments.extend(value.as_deref());
        let call = Call::replace(&names, &arguments);
        let Reply { values, repeated } = match self.client.call(Backend::save_timeout(self), call).await {
            // No look at the row could tell: another writer may have stored these bytes, or others since.
            Err(CallError::InDoubt(reason)) => {
                tracing::debug!("a save is in doubt: {}", reason.explain(ACTION).with_causes());
                return Ok(Replaced::Unknown);
            }
            called => called.map_err(|error| error.explain(ACTION))?,
        };
        Ok(match replaced(values) {
            // A first attempt, whose reply was lost, has let it expire.
            Some(Replaced::Gone) if repeated && time == 0 => Replaced::Done,
            Some(Replaced::Conflict(row)) => Replaced::Conflict(self.bounded(row)),
            Some(replaced) => replaced,
            None => Replaced::Unknown, // no reply of this script
        })
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        const ACTION: &str = "delete from Redis";
        let Some(name) = self.names.name(key) else { return Ok(false) };
        match self.call_one(ACTION, Call::on_key("DEL", &name, &[])).await? {
            (Value::Int(count), _) => Ok(count > 0),
            _ => Err(unexpected(ACTION)),
        }
    }

    /// One page is one reply to `SCAN`, never a part of one. If its values have more than 4 MiB, the same
    /// page is read again with fewer keys, down to the fewest that Redis can return.
    async fn list(&self, after: Option<Cursor>) -> Result<Page, Error> {
        let (prefix, timeout) = (self.names.prefix(), Backend::save_timeout(self));
        let mut position = Position::new(after.as_ref())?;
        loop {
            let scanned = scan(&self.client, timeout, &prefix, position).await;
            let (names, next) = scanned.map_err(|error| error.explain(scan::ACTION))?;
            let smaller = position.smaller().filter(|_| names.len() > 1);
            let max_bytes = smaller.map_or(usize::MAX, |_| PAGE_BYTES);
            match (self.rows(&names, max_bytes).await?, smaller) {
                (None, Some(smaller)) => position = smaller,
                (entries, _) => {
                    return Ok(Page::new(entries.unwrap_or_default(), next.map(Position::cursor)));
                }
            }
        }
    }

    /// Nothing to do: Redis deletes expired values by itself.
    async fn clear_expired(&self, _: u32) -> Result<u64, Error> {
        Ok(0)
    }

    /// Errors unless every server answers, and lets the user delete keys and run scripts.
    async fn check(&self) -> Result<(), Error> {
        const ACTION: &str = "use Redis for sessions";
        let timeout = Backend::save_timeout(self);
        let slots = self.client.slot_map(timeout).await.map_err(|error| error.explain(ACTION))?;
        for server in slots.servers() {
            let _ = self.call_one(ACTION, Call::to_server(server, &[b"PING"])).await?;
        }
        // No session has this name: its key would be empty.
        let name = self.names.prefix();
        let replace = Call::replace(slice::from_ref(&name), &[b"", b"0"]);
        for call in [Call::on_key("DEL", &name, &[]), replace] {
            match self.client.call(timeout, call).await {
                // The user may use the command, but not on this key.
                Err(CallError::Rejected(rejection)) if rejection.is_about_a_key() => {}
                other => drop(other.map_err(|error| error.explain(ACTION))?),
            }
        }
        Ok(())
    }

    /// In a Redis Cluster, a key in the slot of the old one: only there can a script rename.
    fn generate_key(&self, old: Option<&SessionKey>) -> SessionKey {
        match old.filter(|_| self.client.is_cluster()).and_then(|old| self.names.name(old)) {
            Some(name) => key_in_slot(&self.names.prefix(), slot(name.as_bytes())),
            None => SessionKey::generate(),
        }
    }

    fn save_timeout(&self) -> Duration {
        self.timeout.unwrap_or(if self.names.in_front { TIMEOUT_IN_FRONT } else { TIMEOUT })
    }

    fn with_settings(&self, site: &SiteSettings) -> Result<Option<Self>, Error> {
        let names = KeyNames { in_front: site.in_front, ..self.names.clone() };
        Ok(Some(Self { names, max_value_bytes: site.max_value_bytes, ..self.clone() }))
    }
}

/// A reply that the command does not have.
fn unexpected(action: &str) -> Error {
    Error::store(format!("cannot {action}: the server sent an unexpected reply; is this Redis?"))
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("client", &self.client)
            .field("names", &self.names)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
