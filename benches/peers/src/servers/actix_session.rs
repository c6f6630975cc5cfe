//! actix-session, with Redis and with everything in the cookie.

use actix_session::{
    Session, SessionMiddleware,
    config::PersistentSession,
    storage::{CookieSessionStore, RedisSessionStore, SessionStore},
};
use actix_web::{
    App, HttpResponse, HttpServer,
    cookie::{Key, time},
    error::ErrorInternalServerError,
    rt::System,
    web,
};

use super::{KEEP_ALIVE, TWO_WEEKS, WORKERS, answer, database};
use crate::{Result, content};

type Answer = actix_web::Result<HttpResponse>;

pub fn serve_redis(port: u16) -> Result<()> {
    System::new().block_on(async {
        let store = RedisSessionStore::new(database()?).await?;
        serve(port, move || store.clone()).await
    })
}

pub fn serve_cookie(port: u16) -> Result<()> {
    System::new().block_on(serve(port, CookieSessionStore::default))
}

async fn serve<S: SessionStore + 'static>(
    port: u16,
    store: impl Fn() -> S + Clone + Send + 'static,
) -> Result<()> {
    let key = Key::derive_from(content::SECRET.as_bytes());
    let app = move || {
        let lifecycle = PersistentSession::default().session_ttl(time::Duration::seconds(TWO_WEEKS));
        let session = SessionMiddleware::builder(store(), key.clone()).session_lifecycle(lifecycle);
        App::new()
            .wrap(session.cookie_secure(false).build())
            .route("/untouched", web::get().to(|| async { "ok" }))
            .route("/read", web::get().to(read))
            .route("/write", web::post().to(write))
            .route("/create/{user}/{bytes}", web::post().to(create))
    };
    let server = HttpServer::new(app).workers(WORKERS).keep_alive(KEEP_ALIVE);
    Ok(server.bind(("127.0.0.1", port))?.run().await?)
}

async fn read(session: Session) -> Answer {
    said(&session, session.get(content::COUNTER)?.unwrap_or_default())
}

async fn write(session: Session) -> Answer {
    let counter = session.get::<u64>(content::COUNTER)?.unwrap_or_default() + 1;
    session.insert(content::COUNTER, counter)?;
    said(&session, counter)
}

async fn create(session: Session, path: web::Path<(String, usize)>) -> Answer {
    let (user, bytes) = path.into_inner();
    session.insert(content::USER, &user)?;
    session.insert(content::BACKEND, content::BACKEND_VALUE)?;
    session.insert(content::HASH, content::HASH_VALUE)?;
    session.insert(content::COUNTER, 0)?;
    if bytes > 0 {
        session.insert(content::CART, content::cart(bytes))?;
    }
    said(&session, 0)
}

fn said(session: &Session, counter: u64) -> Answer {
    Ok(match session.get::<String>(content::USER).map_err(ErrorInternalServerError)? {
        Some(user) => HttpResponse::Ok().body(answer(&user, counter)),
        None => HttpResponse::Unauthorized().body("no session"),
    })
}
