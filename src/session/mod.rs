//! The session: a handle that is cheap to clone, shared by everything that serves one request.

mod commit;
mod dictionary;
mod expiry;
mod group;
mod state;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

pub use self::expiry::Expiry;
use self::state::{Change, Row, State};
use crate::{
    Error, SessionKey, SessionSettings,
    codec::{EXPIRY_KEY, SessionData},
    settings::Policy,
    store::{AnyStore, Loaded, MemoryStore, Seen},
};

const TEST_COOKIE: (&str, &str) = ("testcookie", "worked"); // Django's names

/// A visitor's session. Django's `request.session` and `SessionStore`.
///
/// Take it as a handler's argument: that is the load, and everything after it is in memory until the
/// response goes out (or [`save`](Self::save) is called). Clones are the same session. It is `Send + Sync`, hands
/// out copies and never a guard, so it may be held across `await` and used from several places at once.
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
    store: AnyStore,
    policy: Policy,
    state: Mutex<State>,
    /// One save at a time.
    saving: tokio::sync::Mutex<()>,
}

/// # Coming by one
impl Session {
    /// Opens the session under `key` outside a request: in a task, a WebSocket, a command. An unknown or
    /// expired key gives an empty session without a key, as in Django (`SessionStore(key)`).
    ///
    /// A save lets it live for Django's default of two weeks. Where the site has settings of its own, take
    /// [`SessionMiddleware::open`](crate::SessionMiddleware::open) or [`open_with`](Self::open_with).
    ///
    /// ```
    /// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
    /// use actix_django_session::{Session, SessionKey, store::MemoryStore};
    ///
    /// let store = MemoryStore::new();
    /// let session = Session::create(&store);
    /// session.insert("k1", "v1")?;
    /// session.save().await?;
    ///
    /// let key = session.session_key().expect("a saved session has a key");
    /// let again = Session::open(&store, &key).await?;
    /// assert_eq!(again.get::<String>("k1")?.as_deref(), Some("v1"));
    /// # Ok(()) }
    /// ```
    pub async fn open<S: Clone + Into<AnyStore>>(store: &S, key: &SessionKey) -> Result<Self, Error> {
        Self::open_with(store, &SessionSettings::default(), key).await
    }

    /// As [`open`](Self::open), with settings other than the default: they decide when the session ends.
    pub async fn open_with<S: Clone + Into<AnyStore>>(
        store: &S,
        settings: &SessionSettings,
        key: &SessionKey,
    ) -> Result<Self, Error> {
        Self::load(store.clone().into(), settings.expiry(), key).await
    }

    /// A new session outside a request; it comes into being with [`save`](Self::save). Django's
    /// `SessionStore()`.
    pub fn create<S: Clone + Into<AnyStore>>(store: &S) -> Self {
        Self::create_with(store, &SessionSettings::default())
    }

    /// As [`create`](Self::create), with settings other than the default: they decide when the session ends.
    pub fn create_with<S: Clone + Into<AnyStore>>(store: &S, settings: &SessionSettings) -> Self {
        Self::empty(store.clone().into(), settings.expiry())
    }

    /// A session of its own, without a server: for tests of handlers.
    pub fn detached() -> Self {
        Self::create(&MemoryStore::new())
    }

    pub(crate) fn empty(store: AnyStore, policy: Policy) -> Self {
        Self::from_state(store, policy, State::new(Row::None, SessionData::default()))
    }

    /// One whose row nobody has looked at, to be flushed.
    pub(crate) fn unseen(store: AnyStore, policy: Policy, key: &SessionKey) -> Self {
        let row = Row::Stored { key: key.clone(), seen: Seen::new(""), expires: SystemTime::UNIX_EPOCH };
        Self::from_state(store, policy, State::new(row, SessionData::default()))
    }

    pub(crate) async fn load(store: AnyStore, policy: Policy, key: &SessionKey) -> Result<Self, Error> {
        let state = match store.load(key).await? {
            Loaded::Found(record) => State::stored(key.clone(), record),
            Loaded::Missing => State::new(Row::None, SessionData::default()),
            Loaded::Unreadable(error) => {
                tracing::warn!("Session data corrupted: {error}");
                State::new(Row::Unreadable(key.clone()), SessionData::default())
            }
        };
        Ok(Self::from_state(store, policy, state))
    }

    fn from_state(store: AnyStore, policy: Policy, state: State) -> Self {
        let (state, saving) = (Mutex::new(state), tokio::sync::Mutex::new(()));
        Self { shared: Arc::new(Shared { store, policy, state, saving }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code of the application runs while it is locked.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// # The session itself
impl Session {
    /// Ends the session: its data is gone, its row is deleted at commit, and what is stored afterwards goes
    /// into a new session under a new key. The logout of Django.
    ///
    /// Alone, it is carried out whatever the response's status. Followed by new data, the whole is one step,
    /// which a response with a 5xx does not take: the old session then is as it was.
    pub fn flush(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.change(Change::Clear)?;
        state.change_key(None);
        state.flushed = true;
        Ok(())
    }

    /// Gives the session a new key and keeps its data: call it when the visitor's rights change, so that a
    /// key known from before is worth nothing. At commit the row is renamed by one statement; a request
    /// that fails with a 5xx has renamed nothing.
    pub fn cycle_key(&self) -> Result<(), Error> {
        let row = self.state().row.key().cloned();
        let key = self.shared.store.draw_key(row.as_ref()); // which may take its time
        let mut state = self.state();
        state.refuse_if_closed()?;
        state.change_key(Some(key));
        Ok(())
    }

    /// The key, if the session has one: a new session gets it when it is first saved.
    pub fn session_key(&self) -> Option<SessionKey> {
        self.state().key.clone()
    }

    /// Whether there is neither a key nor data. A session that has a key is not empty, whatever it holds.
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

    /// Whether its data was read or changed. Taking the session as an argument alone is neither.
    pub fn accessed(&self) -> bool {
        self.state().accessed
    }

    /// Whether its data was changed.
    pub fn modified(&self) -> bool {
        self.state().modified
    }

    /// Has the session saved and its cookie renewed although nothing changed. Django's
    /// `session.modified = True`; nested values need no such help here, see [`update`](Self::update).
    pub fn set_modified(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.refuse_if_closed()?;
        let accessed = state.accessed; // Django's flag is set without touching the data
        state.mark_modified();
        state.accessed = accessed;
        Ok(())
    }
}

/// # Expiry
impl Session {
    /// Sets when this session ends. Takes an [`Expiry`], a `Duration` or a `SystemTime`.
    pub fn set_expiry(&self, expiry: impl Into<Expiry>) -> Result<(), Error> {
        match expiry.into().to_json() {
            Some(value) => self.state().change(Change::Set(EXPIRY_KEY.into(), value.into())),
            None => self.discard(EXPIRY_KEY).map(drop),
        }
    }

    /// Seconds from now until the session ends; negative if that is past.
    pub fn get_expiry_age(&self) -> i64 {
        self.look_at_expiry(|data, policy| expiry::age(data, policy, SystemTime::now()) as i64)
    }

    /// The instant at which the session ends if it is saved now.
    pub fn get_expiry_date(&self) -> SystemTime {
        self.look_at_expiry(|data, policy| expiry::date(data, policy, SystemTime::now()))
    }

    /// Whether the cookie ends with the browser.
    pub fn get_expire_at_browser_close(&self) -> bool {
        self.look_at_expiry(expiry::at_browser_close)
    }

    fn look_at_expiry<T>(&self, look: impl FnOnce(&SessionData, Policy) -> T) -> T {
        let mut state = self.state();
        state.accessed = true;
        look(&state.data, self.shared.policy)
    }
}

/// # Test cookies
impl Session {
    /// Stores a value whose return on the next request shows that the browser takes cookies.
    pub fn set_test_cookie(&self) -> Result<(), Error> {
        let (key, value) = TEST_COOKIE;
        self.insert(key, value)
    }

    /// Whether the test cookie came back.
    pub fn test_cookie_worked(&self) -> bool {
        let (key, value) = TEST_COOKIE;
        self.get::<String>(key).is_ok_and(|found| found.as_deref() == Some(value))
    }

    /// Removes the test cookie; whether it was there.
    pub fn delete_test_cookie(&self) -> Result<bool, Error> {
        self.discard(TEST_COOKIE.0)
    }
}

/// # For the middleware
impl Session {
    /// Seconds for the cookie; none if it ends with the browser.
    pub(crate) fn cookie_age(&self) -> Option<f64> {
        let age = |data: &_, policy| expiry::age(data, policy, SystemTime::now());
        (!self.get_expire_at_browser_close()).then(|| self.look_at_expiry(age))
    }

    /// From here on, changes are refused: nobody would save them.
    pub(crate) fn close(&self) {
        self.state().closed = true;
    }

    /// Ended by `flush`, with the delete still to come.
    pub(crate) fn is_ended(&self) -> bool {
        self.state().is_ended()
    }

    /// Something is stored that we cannot read, and nothing was written to take its place.
    pub(crate) fn has_nothing_to_keep(&self) -> bool {
        self.state().has_nothing_to_keep()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state().fmt(f)
    }
}
