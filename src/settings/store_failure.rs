//! The reply to requests while the store cannot be used.

use super::SessionSettings;

/// The answer to requests whose session cannot be loaded since the store is away. See
/// [`SessionSettings::when_store_fails`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreFailure {
    /// A 503. The default.
    #[default]
    Unavailable,
    /// Requests that only read are served as if the visitor were anonymous. All others get a 503.
    Anonymous,
}

impl SessionSettings {
    /// The reply to requests while the store cannot be used: unreachable, too slow, overloaded, or without
    /// its table. Default: [`StoreFailure::Unavailable`], a 503. Django has no such setting.
    ///
    /// With [`StoreFailure::Anonymous`], a GET, HEAD or OPTIONS whose session cannot be loaded gets a
    /// *degraded* session. It is empty and read-only, and
    /// [`is_degraded`](crate::Session::is_degraded) tells. The visitor's cookie stays as it is. The response
    /// has `Cache-Control: no-store`, so that no cache keeps the anonymous page.
    ///
    /// Every change of a degraded session is an error, and the response a 503, even if the handler ignores
    /// the error. A request of another method, or one that opens a WebSocket, gets a 503 as before. A session
    /// that cannot be decoded is no failure of the store.
    ///
    /// The guide has more on [what is served during an
    /// outage](crate::guide::running#pages-without-the-database).
    ///
    /// ```
    /// use actix_django_session::{SessionSettings, StoreFailure};
    ///
    /// let settings = SessionSettings::default().when_store_fails(StoreFailure::Anonymous);
    /// ```
    #[must_use]
    pub fn when_store_fails(mut self, failure: StoreFailure) -> Self {
        self.when_store_fails = failure;
        self
    }
}
