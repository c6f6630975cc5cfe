//! HTTP: the middleware, the extractors, the cookie, and hooks for middleware of the application's own.

mod cookie;
mod extract;
pub mod hooks;
mod middleware;
mod token;

pub use self::{
    extract::{LazySession, SessionExt},
    middleware::SessionMiddleware,
};
