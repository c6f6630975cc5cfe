//! `createtable`: Django's table and its indexes.

use actix_django_session::{PostgresStore, SecretKey, SessionKey};

use crate::{
    exit::{Exit, Failure},
    output::Out,
    site::Site,
};

pub(crate) async fn run(site: &Site, out: &mut Out) -> Result<Exit, Failure> {
    let url = site.url()?;
    // A store wants one, and a table has none.
    let secret = SecretKey::new(SessionKey::generate().as_str());
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        PostgresStore::connect(&url, secret).await?.create_table().await?;
    } else if url.starts_with("sqlite:") {
        sqlite(&url, secret).await?;
    } else {
        return Err(Failure::text(
            "only PostgreSQL and SQLite have a table of sessions: give the database's own URL, postgres://… or sqlite://…",
        ));
    }
    out.line("the table of sessions is there, with its indexes")?;
    Ok(Exit::Done)
}

#[cfg(feature = "sqlite")]
async fn sqlite(url: &str, secret: SecretKey) -> Result<(), Failure> {
    // Explains what is wrong with a URL.
    actix_django_session::store::open(url, secret.clone()).await?;
    let path = url.strip_prefix("sqlite://").unwrap_or_default();
    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    Ok(actix_django_session::SqliteStore::open(path, secret).await?.create_table().await?)
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_: &str, _: SecretKey) -> Result<(), Failure> {
    Err(Failure::text("this program was built without the feature sqlite"))
}
