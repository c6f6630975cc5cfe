//! x
pub mod codec;
mod cookie;
mod error;
mod extract;
pub mod hooks;
mod middleware;
mod session;
mod settings;
pub mod store;

#[cfg(feature = "postgres")]
pub use self::store::PostgresStore;
#[cfg(feature = "sqlite")]
pub use self::store::SqliteStore;
pub use self::{
    codec::SecretKey,
    error::Error,
    extract::{LazySession, SessionExt},
    middleware::SessionMiddleware,
    session::{Expiry, Session, SessionKey},
    settings::{OnInterrupted, SessionSettings},
};
