//! HTTP: the middleware, the extractors, the cookie, and hooks for middleware of the application's own.

pub(crate) mod cookie;
mod extract;
pub mod hooks;
#[cfg(any(feature = "auth", feature = "csrf"))]
mod host;
mod lazy;
mod middleware;
mod token;

#[cfg(any(feature = "auth", feature = "csrf", feature = "messages"))]
pub(crate) use self::extract::current_session;
#[cfg(any(feature = "auth", feature = "csrf"))]
pub use self::host::HostSettings;
#[cfg(any(feature = "auth", feature = "csrf"))]
#[cfg_attr(not(feature = "csrf"), allow(unused_imports))]
pub(crate) use self::host::RequestHost;
#[cfg(feature = "csrf")]
pub(crate) use self::{
    cookie::{find as find_cookie, set_cookie, vary_on_cookie},
    host::{header_name, is_same_domain, line as header_line},
};
pub use self::{extract::SessionExt, lazy::LazySession, middleware::SessionMiddleware};
