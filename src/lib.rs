//! Django's sessions for actix-web: the same cookie, the same `django_session` table, the same bytes.
//!
//! A session is a dictionary on the server, and a cookie in the browser that names it. Django keeps the dictionary
//! as signed JSON in a table; so does this crate, to the byte, so that a Django site and a Rust service behind
//! one domain share every session live: a visitor who logs in on one is known to the other on the next request.
//! Without any Django it is a durable session in the PostgreSQL that you already run.
//!
//! ```no_run
//! use actix_django_session::{Error, SecretKey, Session, SessionMiddleware, Store};
//! use actix_web::{App, HttpServer, Responder, web};
//!
//! async fn view(session: Session) -> Result<impl Responder, Error> {
//!     let visits = session.update("visits", |n: Option<u64>| n.unwrap_or(0) + 1)?;
//!     Ok(format!("visit {visits}"))
//! }
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let secret = SecretKey::new(std::env::var("SECRET_KEY")?);
//!     let store = Store::connect(&std::env::var("DATABASE_URL")?, secret).await?;
//!     let session = SessionMiddleware::new(store);
//!     HttpServer::new(move || App::new().wrap(session.clone()).route("/", web::get().to(view)))
//!         .bind("127.0.0.1:8080")?
//!         .run()
//!         .await?;
//!     Ok(())
//! }
//! ```
//!
//! # A request's way
//!
//! [`SessionMiddleware`] reads the cookie and does nothing else: a request that does not touch its session costs no
//! query, no row and no cookie. A handler that takes a [`Session`] as an argument has it loaded, by one
//! statement; everything after that is in memory. [`LazySession`] leaves even the load to the handler. When the
//! handler has answered, the middleware saves what was changed, by one statement, before the response leaves.
//!
//! # Changes are merged
//!
//! A save replaces the row only if it still is what the load saw. If another request (ours or Django's) was
//! faster, the changes of this one are made again on what is there now. So two requests that set different keys
//! both win, and a counter moved by [`Session::update`] counts exactly. If the session was ended meanwhile, it stays
//! ended: the answer is a 400, as in Django.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | reading and changing a session | [`Session`] |
//! | Django's `SESSION_*` settings | [`SessionSettings`] |
//! | where sessions are kept, and keeping them elsewhere | [`store`] |
//! | sessions outside a request | [`Session::open`], [`Session::create`] |
//! | all sessions, those of a user, expired ones | [`store::AnyStore::sessions`], [`store::AnyStore::end_sessions_of_user`], [`store::Sweeper`] |
//! | an engine by its URL | [`store::open`] |
//! | `SECRET_KEY` and its rotation | [`SecretKey`] |
//! | rows from before Django 3.1, limits, other salts | [`codec::Codec`] |
//! | middleware with Django's hooks, of your own | [`hooks`] |
//! | what is promised, and which test shows it | [`promises`] |
//!
//! # Features
//!
//! | feature | default | what for |
//! |---|---|---|
//! | `postgres` | yes | [`PostgresStore`] |
//! | `sqlite` | | `SqliteStore`; brings its own SQLite, which a C compiler must build |
//! | `redis` | | `store::RedisCache`, for `store::CacheStore` and `store::CachedStore`; with `pickle` |
//! | `tls` | | TLS to PostgreSQL (`sslmode=require` and above) and to Redis (`rediss://`), with rustls |
//! | `pickle` | | `codec::PickleSerializer`: Python's pickles, read as data only |
//! | `cli` | | the program `django-session`, for operators |
//! | `test-suite` | | `store::conformance`, for authors of stores |
//!
//! Errors are one opaque [`Error`] with predicates. Events go to [`tracing`]; neither they nor `Debug` output nor
//! responses hold keys, secrets or data. The driver is another matter: at debug level `tokio-postgres` logs the
//! parameters of its statements.

pub mod backend;
pub mod codec;
mod error;
mod key;
mod session;
mod settings;
mod store;
mod web;

pub use actix_web::cookie::SameSite;

pub use self::{
    codec::signing::SecretKey,
    error::Error,
    key::SessionKey,
    session::{Expiry, Session},
    settings::SessionSettings,
    store::{SessionEntry, Sessions, Store, Sweeper},
    web::{LazySession, SessionExt, SessionMiddleware, hooks},
};

/// The README's code is tested as documentation is.
#[cfg(all(doctest, feature = "postgres"))]
#[doc = include_str!("../README.md")]
struct Readme;
