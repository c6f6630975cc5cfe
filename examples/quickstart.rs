//! A page that shows its visitor's session, lets them change it, and shows the row behind it.
//!
//! ```text
//! cargo run --example quickstart        # http://127.0.0.1:8080, sessions in ./django_session.sqlite3
//! ```
//!
//! `PORT` selects another port. `DATABASE_URL` selects another database: `sqlite:///db.sqlite3`, or
//! `postgres://…` with a Django site's own table; there, `CREATE_TABLE=1` creates a missing table.
//! `SECRET_KEY` is Django's: with the same database and the same secret, both share the sessions.

#[path = "quickstart/page.rs"]
mod page;
#[path = "quickstart/table.rs"]
mod table;

use std::{env, error::Error as StdError, process::ExitCode, time::Duration};

use actix_django_session::{
    Error, Expiry, LazySession, SecretKey, Session, SessionMiddleware, SessionSettings, Store,
};
use actix_web::{App, HttpServer, http::StatusCode, middleware::ErrorHandlers, web};
use serde::Deserialize;
use serde_json::value::RawValue;

use self::table::Table;

#[actix_web::main]
async fn main() -> ExitCode {
    // The cause of a failed request goes to the log. The visitor sees a 503 only.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .init();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn StdError>> {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let port: u16 = port.parse().map_err(|_| format!("PORT has to be a number up to 65535, not {port:?}"))?;
    let secret = env::var("SECRET_KEY").unwrap_or_else(|_| {
        println!("SECRET_KEY is not set: signing with a public key, for a trial only");
        "insecure-key-of-the-quickstart".to_owned()
    });
    let url = env::var("DATABASE_URL").unwrap_or_else(|_| "sqlite:///django_session.sqlite3".to_owned());
    let (store, table) = open(&url, SecretKey::new(secret)).await.map_err(|error| {
        error.with_causes().replace("call create_table()", "start this with CREATE_TABLE=1")
    })?;

    // Created once, cloned into every worker. A site with HTTPS adds `cookie_secure(true)` here.
    let session = SessionMiddleware::new(store).settings(SessionSettings::default())?;
    let engine = table.engine();
    let table = web::Data::new(table);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(table.clone())
            // These forms carry no CSRF token. The session's cookie is SameSite=Lax: a form on another
            // site posts without it and cannot reach this visitor's session. (It can begin another one.
            // Where that matters, add tokens, as Django does.)
            .route("/", web::get().to(index))
            .route("/set", web::post().to(set))
            .route("/remove", web::post().to(remove))
            .route("/expiry", web::post().to(expiry))
            .route("/rotate", web::post().to(rotate))
            .route("/flush", web::post().to(flush))
            .route("/health", web::get().to(health))
            .wrap(session.clone())
            // Outside the session middleware, so that it also handles a failed save.
            .wrap(ErrorHandlers::new().handler(StatusCode::SERVICE_UNAVAILABLE, page::away))
    })
    .bind(("127.0.0.1", port))
    .map_err(|error| format!("cannot listen on 127.0.0.1:{port} (PORT selects another port): {error}"))?;
    for address in server.addrs() {
        println!("Sessions in {engine}: open http://{address}");
    }
    Ok(server.run().await?)
}

/// Returns the store of the URL, ready for use, and direct access to its table.
///
/// An application that does not read the table itself needs `Store::connect(url, secret)` alone.
async fn open(url: &str, secret: SecretKey) -> Result<(Store, Table), Error> {
    let (table, create) = match url.split_once("://") {
        // A third slash ends an empty host, and is no part of the path.
        Some(("sqlite", path)) if !path.is_empty() => {
            (Table::Sqlite(path.strip_prefix('/').unwrap_or(path).into()), true)
        }
        // It may be a Django site's database: a table is created on request only.
        Some(("postgres" | "postgresql", _)) => {
            (Table::Postgres(url.to_owned()), env::var("CREATE_TABLE").is_ok_and(|yes| yes == "1"))
        }
        _ => {
            return Err(Error::configuration(
                "DATABASE_URL has to be postgres://user:password@host/database or sqlite:///file",
            ));
        }
    };
    let store = Store::connect(url, secret).await?;
    if create {
        store.create_table().await?;
    }
    store.check().await?;
    Ok((store, table))
}

/// A `Session` argument is loaded before the handler runs. After the handler, the middleware saves the
/// changes and sets the cookie.
async fn index(
    session: Session,
    table: web::Data<Table>,
    query: web::Query<page::Query>,
) -> Result<web::Html, Error> {
    let visits = session.update("visits", one_more)?;
    // Handlers rarely save themselves. This one does, since the page shows the row as it is now.
    session.save().await?;
    let row = match session.session_key() {
        Some(key) => table.row(key.as_str()).await?,
        None => None,
    };
    page::index(&session, visits, &row.unwrap_or_default(), &query, &table.engine())
}

/// Returns the next number of visits. Visitors may have stored any value under its key, so every value is
/// accepted. Where the key belongs to the application, `|n: Option<u64>| n.unwrap_or(0) + 1` is enough.
fn one_more(visits: Option<Box<RawValue>>) -> u64 {
    visits.and_then(|json| json.get().parse::<u64>().ok()).unwrap_or(0).saturating_add(1)
}

#[derive(Deserialize)]
struct Item {
    key: String,
    #[serde(default)]
    value: String,
}

impl Item {
    /// Django keeps values of its own in the session, such as the id of the logged-in user.
    fn is_djangos(&self) -> bool {
        self.key.starts_with('_')
    }
}

/// A `LazySession` argument is not loaded yet: a refused request never reaches the database.
async fn set(session: LazySession, form: web::Form<Item>) -> Result<web::Redirect, Error> {
    if form.is_djangos() {
        return Ok(page::back("refused"));
    }
    let session = session.load().await?;
    // Any value that serde can serialize may be stored: here JSON as it was typed, otherwise the text.
    match serde_json::from_str::<&RawValue>(&form.value) {
        Ok(json) => session.insert(&form.key, json)?,
        Err(_) => session.insert(&form.key, &form.value)?,
    }
    Ok(page::back("stored"))
}

async fn remove(session: LazySession, form: web::Form<Item>) -> Result<web::Redirect, Error> {
    if form.is_djangos() {
        return Ok(page::back("refused"));
    }
    session.load().await?.discard(&form.key)?;
    Ok(page::back("removed"))
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Choice {
    Default,
    Minute,
    Browser,
}

#[derive(Deserialize)]
struct ExpiryForm {
    expiry: Choice,
}

async fn expiry(session: Session, form: web::Form<ExpiryForm>) -> Result<web::Redirect, Error> {
    match form.expiry {
        Choice::Default => session.set_expiry(Expiry::Default)?,
        Choice::Minute => session.set_expiry(Duration::from_secs(60))?,
        Choice::Browser => session.set_expiry(Expiry::BrowserClose)?,
    }
    Ok(page::back("expiry"))
}

async fn rotate(session: Session) -> Result<web::Redirect, Error> {
    session.cycle_key()?;
    Ok(page::back("rotated"))
}

async fn flush(session: Session) -> Result<web::Redirect, Error> {
    session.flush()?;
    Ok(page::back("flushed"))
}

/// No session among the arguments: nothing is loaded, saved or set, whatever the cookie is.
async fn health() -> &'static str {
    "ok\n"
}
