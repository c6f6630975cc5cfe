//! Degraded sessions: empty and read-only, for requests that are served although the store is away.

use super::{
    Session,
    state::{State, Stored},
};
use crate::{Error, Store, codec::SessionData, event_log::EventLog, metrics};

/// Why a session is degraded.
pub(super) struct Degraded {
    cause: Error,
    /// A change was refused: the response must not claim that it was made.
    has_refused: bool,
}

impl Degraded {
    pub(super) fn refuse(&mut self) -> Error {
        self.has_refused = true;
        self.error()
    }

    fn error(&self) -> Error {
        let text = "cannot change a session that could not be loaded; retry when the store works again";
        Error::store_caused_by(text, self.cause.clone())
    }
}

impl Session {
    /// Returns whether this session stands for one that could not be loaded, so that it is empty and
    /// read-only. Only with [`StoreFailure::Anonymous`](crate::StoreFailure::Anonymous).
    ///
    /// ```
    /// use actix_django_session::{Error, Session};
    ///
    /// async fn basket(session: Session) -> Result<String, Error> {
    ///     if session.is_degraded() {
    ///         return Ok("Your basket cannot be shown at the moment.".to_owned());
    ///     }
    ///     let items: Vec<u32> = session.get("basket")?.unwrap_or_default();
    ///     Ok(format!("{} items", items.len()))
    /// }
    /// ```
    pub fn is_degraded(&self) -> bool {
        self.state().degraded.is_some()
    }

    /// In place of a session that could not be loaded.
    pub(crate) fn degraded(store: Store, cause: Error) -> Self {
        note_degraded(&cause, store.log());
        let session = Self::empty(store);
        session.state().degrade(cause);
        session
    }

    /// Degrades a session since something else about its visitor could not be loaded. Returns whether that
    /// was possible: not after a change.
    #[cfg(feature = "auth")]
    pub(crate) fn degrade(&self, cause: &Error) -> bool {
        let mut state = self.state();
        if state.degraded.is_some() {
            return true;
        }
        if state.modified {
            return false;
        }
        note_degraded(cause, self.shared.store.log());
        state.degrade(cause.clone());
        true
    }

    /// Errs, as every change does, if the session is degraded.
    #[cfg(feature = "auth")]
    pub(crate) fn refuse_if_degraded(&self) -> Result<(), Error> {
        self.state().refuse_if_degraded()
    }

    /// The error of a change that was refused, if there was one.
    pub(crate) fn refused_change(&self) -> Option<Error> {
        let state = self.state();
        state.degraded.as_ref().filter(|degraded| degraded.has_refused).map(|degraded| degraded.error())
    }
}

impl State {
    fn degrade(&mut self, cause: Error) {
        self.stored = Stored::Nothing;
        self.key = None;
        self.data = SessionData::default();
        self.degraded = Some(Box::new(Degraded { cause, has_refused: false }));
    }
}

/// An event of its own: these requests are no errors yet.
fn note_degraded(cause: &Error, log: &EventLog) {
    metrics::store::degraded();
    log.failure(format!("a request is served without its session: {}", cause.with_causes()));
}
