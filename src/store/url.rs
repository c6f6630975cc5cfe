//! A store from a URL, as Django has an engine from a setting.

use super::AnyStore;
use super::MemoryStore;
#[cfg(feature = "postgres")]
use super::PostgresStore;
#[cfg(feature = "sqlite")]
use super::SqliteStore;
use crate::{Error, codec::Codec};

/// Opens the store that `url` names: `postgres://…`, `sqlite://db.sqlite3` (relative),
/// `sqlite:///var/db.sqlite3` (absolute), or `memory:`.
///
/// Errors if the URL or the secret cannot be right, its feature is not built in, or the store does not answer.
///
/// ```
/// # #[actix_web::main] async fn main() -> Result<(), actix_django_session::Error> {
/// use actix_django_session::{SecretKey, store};
///
/// let store = store::open("memory:", SecretKey::new("…")).await?;
/// # Ok(()) }
/// ```
pub async fn open(url: &str, codec: impl Into<Codec>) -> Result<AnyStore, Error> {
    let codec = codec.into();
    codec.check()?;
    let (scheme, rest) = url.split_once(':').unwrap_or((url, ""));
    match scheme {
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(PostgresStore::connect(url, codec).await?.into()),
        #[cfg(feature = "sqlite")]
        "sqlite" => match rest.strip_prefix("//") {
            Some(path) if !path.is_empty() => Ok(SqliteStore::open(path, codec).await?.into()),
            _ => Err(Error::configuration(
                "an SQLite URL has the form sqlite://db.sqlite3 or sqlite:///var/db.sqlite3",
            )),
        },
        "memory" if rest.is_empty() => Ok(MemoryStore::new().into()),
        _ => Err(Error::configuration(
            "no store has this kind of URL: it is postgres://… (feature postgres), sqlite://… (feature sqlite) or memory:",
        )),
    }
}
