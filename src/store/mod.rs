//! The store: a backend and a codec, the only type that sessions, middleware, sweeper, listing and the tool
//! know.
//!
//! No operation turns into another: an update never inserts, an insert never overwrites.

mod cached;
mod encoded;
mod lease;
mod off_worker;
pub(crate) mod record;
mod sessions;
mod signed_cookies;
mod sweeper;
mod url;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub(crate) use self::signed_cookies::MAX_COOKIE_BYTES;
use self::{
    cached::Cached,
    encoded::EncodedBackend,
    record::{Loaded, Record, Saved, Update, Version},
    signed_cookies::SignedCookies,
};
pub use self::{record::SessionEntry, sessions::Sessions, sweeper::Sweeper};
use crate::{
    Error, SessionKey, SessionSettings,
    backend::Backend,
    codec::{Codec, SessionData},
    event_log::EventLog,
    metrics::{
        self, Operation,
        store::{HasOutcome, StoreMetrics, StoreWatch},
    },
};

/// Expired rows deleted by one call of the backend, so that other requests get their turn in between.
const CLEAR_BATCH: u32 = 1000;

/// Failures and recoveries, for the log.
const SUBJECT: &str = "the session store";

/// Where sessions are stored, and how: Django's `SESSION_ENGINE`. Cheap to clone.
///
/// ```no_run
/// # async fn stores() -> Result<(), Box<dyn std::error::Error>> {
/// use actix_django_session::{SecretKey, Store};
/// use actix_django_session::{backend::{Postgres, Redis}, codec::{Codec, PickleSerializer}};
///
/// let secret = SecretKey::new(std::env::var("SECRET_KEY")?);
/// let store = Store::connect("postgres://app@db.example/site", secret.clone()).await?; // by URL
/// let store = Store::new(Postgres::connect("postgres://app@db.example/site").await?, secret); // the same
/// let cache = Redis::connect("redis://cache.example/1").await?;
/// let cache = Store::new(cache, Codec::unsigned(PickleSerializer::new()));
/// let store = Store::cached(cache, store)?; // cached_db
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    engine: Engine,
    settings: SessionSettings,
    log: EventLog,
    metrics: StoreMetrics,
}

#[derive(Clone)]
enum Engine {
    Backend(EncodedBackend),
    Cached(Cached),
    SignedCookies(SignedCookies),
}

/// # Making one
impl Store {
    /// Sessions in `backend`, encoded by `codec`: a [`SecretKey`](crate::SecretKey) for signed text, or
    /// [`Codec::unsigned`] for a cache.
    ///
    /// ```
    /// use actix_django_session::{SecretKey, Store, backend::Memory};
    ///
    /// let store = Store::new(Memory::new(), SecretKey::new("a secret"));
    /// ```
    pub fn new(backend: impl Backend, codec: impl Into<Codec>) -> Self {
        let encoded = EncodedBackend::new(backend, codec.into());
        let settings = SessionSettings::default();
        let log = EventLog::new(SUBJECT);
        let adapted = encoded.with_settings(&settings, false).unwrap_or_else(|error| {
            error.log(&log); // a backend that cannot serve Django's defaults says so again when it is used
            encoded
        });
        Self::with_engine(Engine::Backend(adapted), settings, log)
    }

    /// A cache in front of a database: Django's `cached_db`, and shared with it. A session that is cached
    /// costs the database nothing.
    ///
    /// The database has the last word: a save is compared with its row. A session deleted there cannot come
    /// back into the cache through a late reader. A cache that fails or does not answer in time never fails a
    /// request: it is left alone for a second, and what became outdated meanwhile is removed from it before
    /// anything is read from it again. The process remembers what that is; [`check`](Self::check) errs as
    /// long as something is left.
    ///
    /// The cache's backend must forget expired rows by itself, as `Redis` and
    /// [`Memory`](crate::backend::Memory) do.
    ///
    /// Errors if one of the two is itself `cached` or signed cookies.
    ///
    /// ```
    /// use actix_django_session::{SecretKey, Store, backend::Memory, codec::{Codec, JsonSerializer}};
    ///
    /// let cache = Store::new(Memory::new(), Codec::unsigned(JsonSerializer));
    /// let database = Store::new(Memory::new(), SecretKey::new("a secret"));
    /// let store = Store::cached(cache, database)?;
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn cached(cache: Self, database: Self) -> Result<Self, Error> {
        let (Engine::Backend(front), Engine::Backend(back)) = (&cache.0.engine, &database.0.engine) else {
            return Err(Error::configuration(
                "Store::cached takes two stores made by Store::new or a URL, the first one of a cache, the \
                 second one of a database",
            ));
        };
        let settings = database.settings().clone();
        let cached = Cached::new(front.clone(), back.clone()).with_settings(&settings)?;
        Ok(Self::with_engine(Engine::Cached(cached), settings, EventLog::new(SUBJECT)))
    }

    /// Sessions in their cookies, signed: Django's `signed_cookies`. No server has them.
    ///
    /// As in Django, the visitor can read the session. Of two concurrent requests the one whose response
    /// comes last wins. A flush deletes the cookie, but a copy of it stays valid until it expires. A session
    /// cannot be larger than a cookie; saving a larger one is an error. So is everything if the codec has no
    /// secret key.
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::{SecretKey, Session, Store};
    ///
    /// let session = Session::new(&Store::signed_cookies(SecretKey::new("a secret")));
    /// session.insert("k1", "v1")?;
    /// session.save().await?;
    /// let cookie = session.session_key().expect("a saved session has a key, which here is all of it");
    /// assert!(cookie.as_str().starts_with("eyJrMSI6InYxIn0:"));
    /// # Ok(()) }
    /// ```
    pub fn signed_cookies(codec: impl Into<Codec>) -> Self {
        let settings = SessionSettings::default();
        let engine = SignedCookies::new(codec.into(), settings.cookie_age);
        Self::with_engine(Engine::SignedCookies(engine), settings, EventLog::new(SUBJECT))
    }

    fn with_engine(engine: Engine, settings: SessionSettings, log: EventLog) -> Self {
        metrics::describe();
        let name = match &engine {
            Engine::Backend(encoded) => encoded.backend.engine(),
            Engine::Cached(_) => metrics::EngineLabel::Cached,
            Engine::SignedCookies(_) => metrics::EngineLabel::SignedCookies,
        };
        Self(Arc::new(Shared { engine, settings, log, metrics: StoreMetrics::new(name) }))
    }

    /// The same store with the site's settings, for sessions outside a request. The middleware does it by
    /// itself ([`SessionMiddleware::settings`](crate::SessionMiddleware::settings)).
    ///
    /// Errors if no browser would keep such a cookie.
    pub fn with_settings(&self, settings: &SessionSettings) -> Result<Self, Error> {
        settings.check()?;
        let engine = match &self.0.engine {
            Engine::Backend(encoded) => Engine::Backend(encoded.with_settings(settings, false)?),
            Engine::Cached(cached) => Engine::Cached(cached.with_settings(settings)?),
            Engine::SignedCookies(cookies) => {
                Engine::SignedCookies(cookies.with_cookie_age(settings.cookie_age))
            }
        };
        Ok(Self::with_engine(engine, settings.clone(), self.0.log.clone()))
    }

    pub(crate) fn settings(&self) -> &SessionSettings {
        &self.0.settings
    }

    /// The database, for its tables of users.
    #[cfg(feature = "auth")]
    pub(crate) fn database(&self) -> Option<crate::backend::database::Database> {
        self.place()?.backend.database()
    }

    /// Where the errors of this store are counted and logged.
    pub(crate) fn log(&self) -> &EventLog {
        &self.0.log
    }

    /// Measures an operation until [`note`](Self::note).
    fn watch(&self, operation: Operation) -> StoreWatch<'_> {
        self.0.metrics.watch(operation)
    }

    /// Notes how an operation ended, and that the store works, if it does.
    fn note<T: HasOutcome>(&self, watch: StoreWatch<'_>, result: Result<T, Error>) -> Result<T, Error> {
        watch.end(&result);
        if result.is_ok() {
            self.0.log.success();
        }
        result
    }
}

/// # Without a session
impl Store {
    /// Returns whether a session has this key, expired or not (caches forget expired ones). Django's
    /// `exists`.
    pub async fn exists(&self, key: &SessionKey) -> Result<bool, Error> {
        match &self.0.engine {
            Engine::Backend(encoded) => encoded.backend.exists(key).await,
            Engine::Cached(cached) => Box::pin(cached.exists(key)).await,
            Engine::SignedCookies(_) => Ok(false), // Django's answer: no server has a session
        }
    }

    /// Deletes a session, expired or not, and returns whether there was one. Needs no secret key. Django's
    /// `delete`.
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::{SessionKey, Store, backend::Memory, codec::Codec};
    ///
    /// let store = Store::new(Memory::new(), Codec::unverified());
    /// assert!(!store.delete(&SessionKey::generate()).await?);
    /// # Ok(()) }
    /// ```
    pub async fn delete(&self, key: &SessionKey) -> Result<bool, Error> {
        self.note(
            self.watch(Operation::Delete),
            match &self.0.engine {
                Engine::Backend(encoded) => encoded.backend.delete(key).await,
                Engine::Cached(cached) => Box::pin(cached.delete(key)).await,
                Engine::SignedCookies(_) => Ok(false), // the middleware deletes the cookie
            },
        )
    }

    /// Deletes all expired sessions, in batches, and returns how many. Django's `clear_expired`, which
    /// `clearsessions` calls.
    pub async fn clear_expired(&self) -> Result<u64, Error> {
        let mut cleared = 0;
        loop {
            let batch = self.clear_batch(CLEAR_BATCH).await?;
            cleared += batch;
            if batch < u64::from(CLEAR_BATCH) {
                return Ok(cleared);
            }
        }
    }

    /// Deletes up to `limit` expired sessions and returns how many. Fewer than `limit` means that no other
    /// can be deleted. PostgreSQL refuses some to which other tables refer: these are left, and logged.
    pub async fn clear_batch(&self, limit: u32) -> Result<u64, Error> {
        let cleared = self.note(
            self.watch(Operation::Clear),
            match &self.0.engine {
                Engine::Backend(encoded) => encoded.backend.clear_expired(limit).await,
                // A cache expires by itself.
                Engine::Cached(cached) => cached.database.backend.clear_expired(limit).await,
                Engine::SignedCookies(_) => Ok(0),
            },
        )?;
        self.0.metrics.cleared(cleared);
        Ok(cleared)
    }

    /// Returns why the last calls of [`clear_batch`](Self::clear_batch) left expired sessions, if they did.
    /// For the program `django-session`.
    #[doc(hidden)]
    pub fn uncleared(&self) -> Option<Error> {
        match &self.0.engine {
            Engine::Backend(encoded) => encoded.backend.uncleared(),
            Engine::Cached(cached) => cached.database.backend.uncleared(),
            Engine::SignedCookies(_) => None,
        }
    }

    /// Returns an error that says what to do if sessions cannot be kept here: an empty secret key, a server
    /// that is away, a table or a right that is missing. For the start of an application.
    pub async fn check(&self) -> Result<(), Error> {
        match &self.0.engine {
            Engine::Backend(encoded) => {
                encoded.codec.check()?;
                encoded.backend.check().await
            }
            Engine::Cached(cached) => {
                cached.database.codec.check()?;
                cached.check().await
            }
            Engine::SignedCookies(cookies) => cookies.check(),
        }
    }

    /// Creates Django's table and its indexes, where sessions are in a table. A table that exists stays as it
    /// is.
    ///
    /// A Django site that comes later accepts it with `manage.py migrate --fake-initial`.
    pub async fn create_table(&self) -> Result<(), Error> {
        match &self.0.engine {
            Engine::Backend(encoded) => encoded.backend.create_table().await,
            Engine::Cached(cached) => cached.database.backend.create_table().await,
            Engine::SignedCookies(_) => Ok(()),
        }
    }

    /// Returns how long a save may take before it is an error that answers 503.
    pub fn save_timeout(&self) -> Duration {
        self.place().map_or(Duration::from_secs(5), |place| place.backend.save_timeout())
    }

    /// Whether the backend has an index on the expiry. A cache in front of it expires with the row.
    pub(crate) fn indexes_expiry(&self) -> bool {
        self.place().is_some_and(|place| place.backend.indexes_expiry())
    }

    /// Whether a session is its cookie, so that each save changes the key.
    pub(crate) fn is_in_cookies(&self) -> bool {
        matches!(self.0.engine, Engine::SignedCookies(_))
    }

    /// The backend that has the last word, if a server has the sessions.
    fn place(&self) -> Option<&EncodedBackend> {
        match &self.0.engine {
            Engine::Backend(encoded) => Some(encoded),
            Engine::Cached(cached) => Some(&cached.database),
            Engine::SignedCookies(_) => None,
        }
    }
}

/// # For sessions
///
/// Calls of the cached engine are boxed: their futures are large, and every save would carry that size.
impl Store {
    /// A number that clones of this store share, and no other store has at the same time. One with other
    /// settings is another store: it may store the same session differently.
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// The key that a cookie's text names, if any session can have it.
    pub(crate) fn parse_key(&self, text: &str) -> Option<SessionKey> {
        match self.0.engine {
            Engine::SignedCookies(_) => SignedCookies::parse_key(text),
            _ => SessionKey::parse(text),
        }
    }

    pub(crate) fn generate_key(&self, old: Option<&SessionKey>) -> SessionKey {
        self.place().map_or_else(SessionKey::generate, |place| place.backend.generate_key(old))
    }

    pub(crate) async fn load(&self, key: &SessionKey) -> Result<Loaded, Error> {
        let watch = self.watch(Operation::Load);
        let loaded = match &self.0.engine {
            Engine::Backend(encoded) => encoded.load(key).await,
            Engine::Cached(cached) => Box::pin(cached.load(key)).await,
            Engine::SignedCookies(cookies) => cookies.load(key),
        };
        match loaded {
            // Says nothing about the database.
            Ok(Loaded::Found(Record { version: Version::Cached(_), .. })) => {
                watch.end(&loaded);
                loaded
            }
            loaded => self.note(watch, loaded),
        }
    }

    pub(crate) async fn insert(
        &self,
        key: &SessionKey,
        data: &SessionData,
        expires: SystemTime,
    ) -> Result<Saved, Error> {
        self.note(
            self.watch(Operation::Create),
            match &self.0.engine {
                Engine::Backend(encoded) => encoded.insert(key, data, expires).await,
                Engine::Cached(cached) => Box::pin(cached.insert(key, data, expires)).await,
                Engine::SignedCookies(cookies) => cookies.save(data),
            },
        )
    }

    pub(crate) async fn update(&self, update: Update<'_>) -> Result<Saved, Error> {
        let is_rename = update.new_key.is_some();
        let operation = if is_rename { Operation::Rename } else { Operation::Update };
        self.note(
            self.watch(operation),
            match &self.0.engine {
                Engine::Backend(encoded) => encoded.update(update).await,
                Engine::Cached(cached) => Box::pin(cached.update(update)).await,
                Engine::SignedCookies(cookies) => cookies.save(update.data),
            },
        )
    }

    /// Moves the expiry of a session that nobody changed, and nothing else.
    pub(crate) async fn touch(
        &self,
        key: &SessionKey,
        version: &Version,
        expires: SystemTime,
        data: &SessionData,
    ) -> Result<Saved, Error> {
        self.note(
            self.watch(Operation::Touch),
            match &self.0.engine {
                Engine::Backend(encoded) => encoded.touch(key, version, expires).await,
                Engine::Cached(cached) => Box::pin(cached.touch(key, version, expires)).await,
                Engine::SignedCookies(cookies) => cookies.save(data),
            },
        )
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.engine {
            Engine::Backend(_) => "Store(backend)",
            Engine::Cached(_) => "Store(cached)",
            Engine::SignedCookies(_) => "Store(signed cookies)",
        })
    }
}
