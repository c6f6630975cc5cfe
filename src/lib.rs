//! Django's sessions and login for actix-web: the same cookie, the same tables, the same bytes.
//!
//! # What a session is
//!
//! HTTP has no memory of a visitor. A *session* gives it one: a dictionary that the server keeps for each
//! visitor. The browser holds only its *key*, a random text in a cookie, and sends it with every request.
//!
//! Django keeps the dictionary as signed JSON in a table. This crate does the same, byte for byte. So a
//! Django site and a Rust service behind one domain share every session live, in both directions: a visitor
//! who logs in on one is known to the other on the next request. Without any Django, it is a durable
//! session in the PostgreSQL that you already run.
//!
//! ```no_run
//! use actix_django_session::{Error, SecretKey, Session, SessionMiddleware, Store};
//! use actix_web::{App, HttpServer, web};
//!
//! async fn view(session: Session) -> Result<String, Error> {
//!     let visits = session.update("visits", |n: Option<u64>| n.unwrap_or(0) + 1)?;
//!     Ok(format!("visit {visits}"))
//! }
//!
//! #[actix_web::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let secret = SecretKey::new(std::env::var("SECRET_KEY")?); // Django's
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
//! ```text
//!  Cookie header ─► SessionMiddleware ─► LazySession in the request's extensions     (no I/O)
//!                                             │ the first extractor awaits the load
//!  handler(session: Session) ◄── Store::load ◄── codec.decode(bytes) ◄── Backend::get
//!       │ get, insert, update, remove, flush, cycle_key     (in memory, recorded in a journal)
//!       ▼
//!  SessionMiddleware ─► save ─► codec.encode ─► Backend::replace(bytes)
//!       └► Vary, Set-Cookie
//! ```
//!
//! [`SessionMiddleware`] reads the cookie and does nothing else. A request that does not touch its session
//! costs no query, no row and no cookie. A handler that takes a [`Session`] as an argument has it loaded by
//! one statement. [`LazySession`] leaves the load to the handler. After the handler, the middleware saves
//! the changes by one statement, before the response leaves.
//!
//! # Changes are merged
//!
//! A save replaces the row only if it still holds what the load read. If another request (ours or Django's)
//! was faster, the changes of this one are replayed on the newer row. So two requests that set different
//! keys both succeed, and [`Session::update`] counts exactly. If the session was deleted meanwhile, it
//! stays deleted: the answer is a 400, as in Django.
//!
//! # Where to look
//!
//! | for | see |
//! |---|---|
//! | the first steps | [`guide::getting_started`] |
//! | reading and changing a session | [`Session`], [`LazySession`] |
//! | Django's `SESSION_*` settings | [`SessionSettings`], [`guide::from_django`] |
//! | differences from Django | [`guide::deviations`] |
//! | who the visitor is, login and logout | [`auth`], [`guide::login`] |
//! | forms, one-time notices | [`csrf`], [`messages`] |
//! | where sessions are kept | [`Store`], [`backend`], [`guide::engines`] |
//! | sessions outside a request | [`SessionMiddleware::open`], [`Session::open`], [`Session::new`] |
//! | all sessions, those of a user | [`Store::sessions`], [`Store::end_sessions_of_user`] |
//! | deleting expired sessions | [`Sweeper`], [`Store::clear_expired`] |
//! | `SECRET_KEY` and its rotation | [`SecretKey`] |
//! | old formats, limits, other salts | [`codec::Codec`] |
//! | forms and cross-site requests | [`csrf`], [`guide::csrf`] |
//! | middleware with Django's hooks | [`hooks`] |
//! | merging, counters, 400 and 503 | [`guide::concurrency`] |
//! | metrics and spans | [`guide::metrics`] |
//! | production, tests, speed | [`guide::running`], [`guide::testing`], [`guide::performance`] |
//! | what is promised, and the tests that show it | [`guide::promises`] |
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `postgres` | yes | `backend::Postgres` |
//! | `with-deadpool-postgres-0_14` | yes | `Postgres::from_pool`, for a pool of `deadpool-postgres` 0.14 |
//! | `sqlite` | | `backend::Sqlite`; compiles SQLite, so a C compiler is needed |
//! | `redis` | | `backend::Redis`, for the `cache` and `cached_db` engines; includes `pickle` |
//! | `tls` | | TLS to PostgreSQL (`sslmode=require` and above) and Redis (`rediss://`), with rustls |
//! | `pickle` | | `codec::PickleSerializer`: Python's pickles, read as data only |
//! | `auth` | | [`auth`]: users, passwords, permissions, login and logout; needs `postgres` or `sqlite` |
//! | `csrf` | | [`csrf`]: Django's protection against cross-site request forgery |
//! | `messages` | | [`messages`]: Django's messages |
//! | `metrics` | | counters, gauges and histograms by the facade `metrics`: [`guide::metrics`] |
//! | `cli` | | the program `django-session`, for operators |
//! | `test-suite` | | `backend::conformance`, for authors of backends |
//!
//! # Errors and logs
//!
//! Every function returns one opaque [`Error`] with predicates. Events go to [`tracing`]. Neither events nor
//! `Debug` output nor responses hold keys, secrets or data. The driver is another matter: at debug level
//! `tokio-postgres` logs the parameters of its statements, session keys among them.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(feature = "auth", not(any(feature = "postgres", feature = "sqlite"))))]
compile_error!("the feature auth needs a database of users: enable the feature postgres or sqlite");

#[cfg(feature = "auth")]
pub mod auth;
pub mod backend;
pub mod codec;
#[cfg(feature = "csrf")]
pub mod csrf;
mod datetime;
mod error;
mod event_log;
mod key;
#[cfg(feature = "messages")]
pub mod messages;
mod metrics;
mod session;
mod settings;
mod store;
mod web;

pub use actix_web::cookie::SameSite;

#[cfg(any(feature = "auth", feature = "csrf"))]
pub use self::web::HostSettings;
pub use self::{
    codec::signing::SecretKey,
    error::Error,
    key::SessionKey,
    session::{Expiry, Session},
    settings::{SessionSettings, StoreFailure},
    store::{SessionEntry, Sessions, Store, Sweeper},
    web::{LazySession, SessionExt, SessionMiddleware, hooks},
};

#[cfg(any(doc, doctest))]
pub mod guide;

/// The README's code is tested as documentation is.
#[cfg(all(doctest, feature = "postgres", feature = "auth"))]
#[doc = include_str!("../README.md")]
struct Readme;
