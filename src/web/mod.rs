//! HTTP: the middleware, the extractors, the cookie, and hooks for middleware of the application's own.

mod cookie;
mod extract;
pub mod hooks;
#[cfg(any(feature = "auth", feature = "csrf"))]
mod host;
mod middleware;

#[cfg(any(feature = "auth", feature = "csrf"))]
pub use self::host::HostSettings;
#[cfg(any(feature = "auth", feature = "csrf"))]
#[allow(unused_imports)]
pub(crate) use self::host::RequestHost;
pub use self::{
    extract::{LazySession, SessionExt},
    middleware::SessionMiddleware,
};
