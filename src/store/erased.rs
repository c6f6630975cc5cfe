//! A store whose type is chosen at run time, as Django's SESSION_ENGINE is.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Cleared, Cursor, Loaded, Outcome, Page, Seen, SessionData, SessionStore};
use crate::{Error, SessionKey};

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Any store, behind one type. Cheap to clone; every [`SessionStore`] turns into it by `into()`.
///
/// ```
/// use actix_django_session::store::{AnyStore, MemoryStore};
///
/// let store: AnyStore = MemoryStore::new().into();
/// ```
#[derive(Clone)]
pub struct AnyStore(Arc<dyn Erased>);

// Not a `SessionStore` itself, so that `From` can be there for every one that is.
impl<S: SessionStore> From<S> for AnyStore {
    fn from(store: S) -> Self {
        Self(Arc::new(store))
    }
}

impl AnyStore {
    /// What its clones have in common with it, and no other store has at the same time.
    pub(crate) fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>().addr()
    }

    /// See [`SessionStore::patience`].
    pub fn patience(&self) -> Duration {
        self.0.patience()
    }

    /// See [`SessionStore::parse_key`].
    pub fn parse_key(&self, text: &str) -> Option<SessionKey> {
        self.0.parse_key(text)
    }

    /// See [`SessionStore::draw_key`].
    pub fn draw_key(&self, old: Option<&SessionKey>) -> SessionKey {
        self.0.draw_key(old)
    }
}

impl fmt::Debug for AnyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyStore(…)")
    }
}

/// [`SessionStore`] in a form that fits a trait object, made from it by `erase!`.
macro_rules! erase {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        trait Erased: Send + Sync {
            $(fn $name<'a>(&'a self, $($arg: $type),*) -> Answer<'a, $answer>;)*
            fn patience(&self) -> Duration;
            fn parse_key(&self, text: &str) -> Option<SessionKey>;
            fn draw_key(&self, old: Option<&SessionKey>) -> SessionKey;
        }

        impl<S: SessionStore> Erased for S {
            $(fn $name<'a>(&'a self, $($arg: $type),*) -> Answer<'a, $answer> {
                Box::pin(SessionStore::$name(self, $($arg),*))
            })*
            fn patience(&self) -> Duration {
                SessionStore::patience(self)
            }
            fn parse_key(&self, text: &str) -> Option<SessionKey> {
                SessionStore::parse_key(self, text)
            }
            fn draw_key(&self, old: Option<&SessionKey>) -> SessionKey {
                SessionStore::draw_key(self, old)
            }
        }

        impl AnyStore {
            $($(#[$doc])* pub fn $name<'a>(&'a self, $($arg: $type),*) -> Answer<'a, $answer> {
                self.0.$name($($arg),*)
            })*
        }
    };
}

erase! {
    /// See [`SessionStore::load`].
    load(key: &'a SessionKey) -> Loaded;
    /// See [`SessionStore::create`].
    create(key: &'a SessionKey, data: &'a SessionData, expires: SystemTime) -> Outcome;
    /// See [`SessionStore::update`].
    update(key: &'a SessionKey, seen: &'a Seen, data: &'a SessionData, expires: SystemTime) -> Outcome;
    /// See [`SessionStore::rename`].
    rename(
        key: &'a SessionKey, seen: &'a Seen, new_key: &'a SessionKey, data: &'a SessionData, expires: SystemTime
    ) -> Outcome;
    /// See [`SessionStore::touch`].
    touch(key: &'a SessionKey, seen: &'a Seen, was: SystemTime, expires: SystemTime) -> Outcome;
    /// See [`SessionStore::delete`].
    delete(key: &'a SessionKey) -> bool;
    /// See [`SessionStore::exists`].
    exists(key: &'a SessionKey) -> bool;
    /// See [`SessionStore::check`].
    check() -> ();
    /// See [`SessionStore::clear_expired`].
    clear_expired() -> u64;
    /// See [`SessionStore::clear_some`].
    clear_some(limit: u32, after: Option<SystemTime>) -> Cleared;
    /// See [`SessionStore::page`].
    page(cursor: Option<&'a Cursor>) -> Page;
}
