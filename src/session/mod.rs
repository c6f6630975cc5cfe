//! The session: a handle that is cheap to clone, shared by everything that serves one request.

mod coalesce;
mod degraded;
mod dictionary;
mod expiry;
mod journal;
mod save;
mod state;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

pub use self::expiry::Expiry;
use self::{
    journal::Change,
    state::{State, Stored},
};
use crate::{
    Error, SessionKey, Store,
    backend::Memory,
    codec::{Codec, EXPIRY_KEY, JsonSerializer, SessionData},
    settings::ExpiryPolicy,
    store::record::{Loaded, Version},
};

const TEST_COOKIE: (&str, &str) = ("testcookie", "worked"); // Django's names

/// A visitor's session. Django's `request.session` and `SessionStore`.
///
/// As a handler's argument it is loaded; everything after that is in memory until the response goes out (or
/// [`save`](Self::save) is called). Clones are the same session. It is `Send + Sync` and returns copies,
/// never a guard, so it may be kept across `await` and used from several places at once.
///
/// ```
/// use actix_web::{HttpResponse, Responder};
/// use actix_django_session::{Error, Session};
///
/// async fn view(session: Session) -> Result<impl Responder, Error> {
///     let visits = session.update("visits", |n: Option<u64>| n.unwrap_or(0) + 1)?;
///     Ok(HttpResponse::Ok().body(format!("visit {visits}")))
/// }
/// ```
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    state: Mutex<State>,
    /// One save at a time.
    save_lock: tokio::sync::Mutex<()>,
}

/// # Outside a request
impl Session {
    /// Opens the session under `key`: in a task, a WebSocket, a command. Returns `None` if there is no live
    /// one. Django's `SessionStore(key)`.
    ///
    /// The store's settings decide how long a save extends it: two weeks, unless it was made by
    /// [`Store::with_settings`], or is that of [`SessionMiddleware::open`](crate::SessionMiddleware::open).
    ///
    /// Errors also if the session cannot be read (signed with another secret key, say).
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::{SecretKey, Session, SessionKey, Store, backend::Memory};
    ///
    /// let store = Store::new(Memory::new(), SecretKey::new("a secret"));
    /// let session = Session::new(&store);
    /// session.insert("k1", "v1")?;
    /// session.save().await?;
    ///
    /// let key = session.session_key().expect("a saved session has a key");
    /// let again = Session::open(&store, &key).await?.expect("it was saved");
    /// assert_eq!(again.get::<String>("k1")?.as_deref(), Some("v1"));
    /// assert!(Session::open(&store, &SessionKey::generate()).await?.is_none());
    /// # Ok(()) }
    /// ```
    pub async fn open(store: &Store, key: &SessionKey) -> Result<Option<Self>, Error> {
        match store.load(key).await? {
            Loaded::Found(record) => {
                Ok(Some(Self::from_state(store.clone(), State::loaded(key.clone(), record))))
            }
            Loaded::Missing => Ok(None),
            Loaded::Unreadable(error) => Err(error),
        }
    }

    /// A new session, which [`save`](Self::save) stores. Django's `SessionStore()`.
    pub fn new(store: &Store) -> Self {
        Self::empty(store.clone())
    }

    /// A session without a server, for tests of handlers.
    ///
    /// ```
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// session.insert("name", "Ada")?;
    /// assert_eq!(session.get::<String>("name")?.as_deref(), Some("Ada"));
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn detached() -> Self {
        Self::new(&Store::new(Memory::new(), Codec::unsigned(JsonSerializer)))
    }

    pub(crate) fn empty(store: Store) -> Self {
        Self::from_state(store, State::new(Stored::Nothing, SessionData::default()))
    }

    /// A session that was not loaded, to be flushed.
    pub(crate) fn not_loaded(store: Store, key: &SessionKey) -> Self {
        let stored =
            Stored::Row { key: key.clone(), version: Version::Unknown, expires: SystemTime::UNIX_EPOCH };
        Self::from_state(store, State::new(stored, SessionData::default()))
    }

    pub(crate) async fn load(store: Store, key: &SessionKey) -> Result<Self, Error> {
        let state = match store.load(key).await? {
            Loaded::Found(record) => State::loaded(key.clone(), record),
            Loaded::Missing => State::new(Stored::Nothing, SessionData::default()),
            Loaded::Unreadable(error) => {
                store.log().warn(format!("Session data corrupted: {error}")); // Django's words
                State::new(Stored::Unreadable(key.clone()), SessionData::default())
            }
        };
        Ok(Self::from_state(store, state))
    }

    fn from_state(store: Store, mut state: State) -> Self {
        state.log = Some(store.log().clone());
        let (state, save_lock) = (Mutex::new(state), tokio::sync::Mutex::new(()));
        Self { shared: Arc::new(Shared { store, state, save_lock }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code of the application runs while it is locked.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn policy(&self) -> ExpiryPolicy {
        let store = &self.shared.store;
        let policy = store.settings().expiry();
        ExpiryPolicy { rounded: policy.rounded && store.indexes_expiry(), ..policy }
    }
}

/// # The session itself
impl Session {
    /// Deletes the session: its data is gone, its row is deleted when the response goes out, and what is
    /// stored afterwards goes into a new session under a new key. Django's `flush`, and its logout.
    ///
    /// Alone, it is carried out whatever the response's status. Followed by new data, both are one step,
    /// which a response with a 5xx does not take: the old session then stays as it was.
    ///
    /// ```
    /// use actix_django_session::{Error, Session};
    ///
    /// async fn log_out(session: Session) -> Result<&'static str, Error> {
    ///     session.flush()?;
    ///     Ok("good bye")
    /// }
    /// ```
    pub fn flush(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.change(Change::Clear)?;
        state.change_key(None);
        state.flushed = true;
        state.ended = true;
        Ok(())
    }

    /// Gives the session a new key and keeps its data. Call it when the visitor's rights change, so that a
    /// key known from before is worth nothing. The row is renamed by one statement when the response goes
    /// out; a request that fails with a 5xx has renamed nothing. Django's `cycle_key`.
    ///
    /// ```
    /// use actix_django_session::{Error, Session};
    ///
    /// fn log_in(session: &Session, user_id: u64) -> Result<(), Error> {
    ///     session.cycle_key()?;
    ///     session.insert("user_id", &user_id)
    /// }
    /// # log_in(&Session::detached(), 7).unwrap();
    /// ```
    pub fn cycle_key(&self) -> Result<(), Error> {
        let key = self.new_key();
        self.state().cycle_key(key)
    }

    /// May be slow: not to be called under the lock.
    fn new_key(&self) -> SessionKey {
        let old = self.state().stored.key().cloned();
        self.shared.store.generate_key(old.as_ref())
    }

    /// The same for a visitor who has just proved the password: if the row is gone, since a concurrent
    /// request has renamed or flushed it, the data is stored in a new session, as Django does.
    #[cfg(feature = "auth")]
    pub(crate) fn cycle_key_or_new(&self) -> Result<(), Error> {
        self.cycle_key()?;
        self.state().new_if_gone = true;
        Ok(())
    }

    /// [`cycle_key`](Self::cycle_key), which the application did not request. If the session is gone, the
    /// change is dropped, and the request does not fail for it.
    #[cfg(feature = "auth")]
    pub(crate) fn cycle_key_unrequested(&self) -> Result<(), Error> {
        let key = self.new_key();
        self.state().make_unrequested_change(|state| state.cycle_key(key))
    }

    /// A flush that a later failure of the request does not take back.
    #[cfg(feature = "auth")]
    pub(crate) fn note_logout(&self) {
        self.state().logged_out = true;
    }

    /// Returns the key of the row, which may differ from the session's until the next save.
    #[cfg(feature = "auth")]
    pub(crate) fn stored_key(&self) -> Option<SessionKey> {
        self.state().stored.key().cloned()
    }

    /// Returns the key of the row if a save has renamed it: the visitor must learn it.
    pub(crate) fn renamed_key(&self) -> Option<SessionKey> {
        let state = self.state();
        state.stored.key().filter(|_| state.renamed).cloned()
    }

    /// Returns the key, if the session has one: a new session gets it when it is first saved.
    pub fn session_key(&self) -> Option<SessionKey> {
        self.state().key.clone()
    }

    /// Returns whether there is neither a key nor data. A session that has a key is not empty, even without
    /// data.
    ///
    /// ```
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// assert!(session.is_empty());
    /// session.insert("k1", "v1")?;
    /// assert!(!session.is_empty());
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.state().is_empty()
    }

    /// Returns whether its data was read or changed. Taking the session as an argument is neither.
    pub fn accessed(&self) -> bool {
        self.state().accessed
    }

    /// Returns whether its data was changed.
    pub fn modified(&self) -> bool {
        self.state().modified
    }

    /// Has the session saved and its cookie renewed although nothing changed. Django's `session.modified =
    /// True`. Nested values need no such help here, see [`update`](Self::update).
    pub fn set_modified(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.refuse_if_read_only()?;
        let accessed = state.accessed; // Django's flag is set without touching the data
        state.mark_modified();
        state.accessed = accessed;
        Ok(())
    }
}

/// # Expiry
impl Session {
    /// Sets when this session expires: an [`Expiry`], a `Duration`, a `SystemTime`, or Django's number of
    /// seconds as an `i64`. Django's `set_expiry`.
    ///
    /// Errors if that is more than 1,000 years after a save, or not before 9999-12-31: Python has no later
    /// dates, and Django could not save the session.
    ///
    /// ```
    /// use std::time::Duration;
    /// use actix_django_session::{Expiry, Session};
    ///
    /// let session = Session::detached();
    /// session.set_expiry(Duration::from_secs(300))?;
    /// assert_eq!(session.get_expiry_age(), 300.0);
    /// session.set_expiry(Expiry::BrowserClose)?;
    /// assert!(session.get_expire_at_browser_close());
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn set_expiry(&self, expiry: impl Into<Expiry>) -> Result<(), Error> {
        match expiry.into().to_json()? {
            Some(value) => self.state().change(Change::Set(EXPIRY_KEY.into(), value.into())),
            None => self.discard(EXPIRY_KEY).map(drop),
        }
    }

    /// Returns the seconds from now until the session expires; negative if that is past. They have a fraction
    /// only if the application set one. Django's `get_expiry_age`.
    pub fn get_expiry_age(&self) -> f64 {
        self.read_expiry(|data, policy| expiry::age(data, policy, SystemTime::now()))
    }

    /// Returns when the session expires if it is saved now. Django's `get_expiry_date`.
    pub fn get_expiry_date(&self) -> SystemTime {
        self.read_expiry(|data, policy| expiry::date(data, policy, SystemTime::now()))
    }

    /// Returns whether the browser drops the cookie when it closes. Django's `get_expire_at_browser_close`.
    pub fn get_expire_at_browser_close(&self) -> bool {
        self.read_expiry(expiry::at_browser_close)
    }

    fn read_expiry<T>(&self, read: impl FnOnce(&SessionData, ExpiryPolicy) -> T) -> T {
        let mut state = self.state();
        state.accessed = true;
        read(&state.data, self.policy())
    }
}

/// # Test cookies
impl Session {
    /// Stores a value whose return with the next request shows that the browser accepts cookies.
    ///
    /// ```
    /// use actix_django_session::Session;
    ///
    /// let session = Session::detached();
    /// session.set_test_cookie()?; // one request
    /// assert!(session.test_cookie_worked() && session.delete_test_cookie()?); // the next one
    /// # Ok::<(), actix_django_session::Error>(())
    /// ```
    pub fn set_test_cookie(&self) -> Result<(), Error> {
        let (key, value) = TEST_COOKIE;
        self.insert(key, value)
    }

    /// Returns whether the test cookie came back.
    pub fn test_cookie_worked(&self) -> bool {
        let (key, value) = TEST_COOKIE;
        self.get::<String>(key).is_ok_and(|found| found.as_deref() == Some(value))
    }

    /// Removes the test cookie and returns whether it was there.
    pub fn delete_test_cookie(&self) -> Result<bool, Error> {
        self.discard(TEST_COOKIE.0)
    }
}

/// # For the middleware
impl Session {
    /// Seconds for the cookie; none if the browser drops it when it closes.
    pub(crate) fn cookie_age(&self) -> Option<f64> {
        let age = |data: &_, policy| expiry::age(data, policy, SystemTime::now());
        (!self.get_expire_at_browser_close()).then(|| self.read_expiry(age))
    }

    /// Refuses changes from here on: nobody would save them.
    pub(crate) fn close(&self) {
        self.state().closed = true;
    }

    /// Whether all changes are those that the crate made by itself.
    pub(crate) fn has_only_unrequested_changes(&self) -> bool {
        let state = self.state();
        state.unrequested_change_count > 0 && state.unrequested_change_count == state.change_count
    }

    /// Drops what was stored after a logout: the request has failed, and the logout is to be carried out.
    pub(crate) fn drop_data_after_logout(&self) {
        let mut state = self.state();
        if state.logged_out {
            state.data = SessionData::default();
            state.journal.clear();
            state.key = None;
            (state.flushed, state.ended) = (true, true);
        }
    }

    /// Whether `flush` was called, with the delete still to come.
    pub(crate) fn is_flushed(&self) -> bool {
        self.state().is_flushed()
    }

    /// Whether `flush` was called, and nothing was stored since.
    pub(crate) fn was_flushed(&self) -> bool {
        self.state().ended
    }

    /// Whether something is stored that cannot be read, and nothing was written to take its place.
    pub(crate) fn has_nothing_to_save(&self) -> bool {
        self.state().has_nothing_to_save()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state().fmt(f)
    }
}
