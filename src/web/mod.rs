//! HTTP: the middleware, the extractors, the cookie, and hooks for middleware of the application's own.

pub(crate) mod cookie;
mod extract;
pub mod hooks;
mod middleware;

#[cfg(feature = "messages")]
pub(crate) use self::extract::current_session;
pub use self::{
    extract::{LazySession, SessionExt},
    middleware::SessionMiddleware,
};
