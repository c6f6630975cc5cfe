//! actix-django-session as its README shows it.

use actix_django_session::{Error, SecretKey, Session, SessionMiddleware, SessionSettings, Store};
use actix_web::{App, HttpResponse, HttpServer, rt::System, web};

use super::{KEEP_ALIVE, WORKERS, answer, database};
use crate::{Result, content};

type Answer = Result<HttpResponse, Error>;

pub fn serve(port: u16, settings: SessionSettings) -> Result<()> {
    System::new().block_on(async {
        let store = Store::connect(&database()?, SecretKey::new(content::SECRET)).await?;
        let session = SessionMiddleware::new(store).settings(settings)?;
        let app = move || App::new().wrap(session.clone()).configure(routes);
        let server = HttpServer::new(app).workers(WORKERS).keep_alive(KEEP_ALIVE);
        Ok(server.bind(("127.0.0.1", port))?.run().await?)
    })
}

pub fn routes(app: &mut web::ServiceConfig) {
    app.route("/untouched", web::get().to(|| async { "ok" }))
        .route("/read", web::get().to(read))
        .route("/write", web::post().to(write))
        .route("/create/{user}/{bytes}", web::post().to(create));
}

async fn read(session: Session) -> Answer {
    said(&session, session.get(content::COUNTER)?.unwrap_or_default())
}

async fn write(session: Session) -> Answer {
    let counter = session.update(content::COUNTER, |n: Option<u64>| n.unwrap_or_default() + 1)?;
    said(&session, counter)
}

async fn create(session: Session, path: web::Path<(String, usize)>) -> Answer {
    let (user, bytes) = path.into_inner();
    session.insert(content::USER, &user)?;
    session.insert(content::BACKEND, content::BACKEND_VALUE)?;
    session.insert(content::HASH, content::HASH_VALUE)?;
    session.insert(content::COUNTER, &0)?;
    if bytes > 0 {
        session.insert(content::CART, &content::cart(bytes))?;
    }
    said(&session, 0)
}

fn said(session: &Session, counter: u64) -> Answer {
    Ok(match session.get::<String>(content::USER)? {
        Some(user) => HttpResponse::Ok().body(answer(&user, counter)),
        None => HttpResponse::Unauthorized().body("no session"),
    })
}
