//! A service beside the site that can read none of its sessions: another SECRET_KEY, another serializer.

use actix_django_session::{Error, LazySession, Session, SessionKey, SessionMiddleware, Store};
use actix_web::{App, http::header, test, web};

use crate::support::stores;

async fn look(session: Session) -> Result<String, Error> {
    session.set_modified()?;
    session.save().await?;
    session.discard("n")?;
    Ok(format!("{:?}", session.get::<u32>("n")?))
}

async fn write(session: Session) -> Result<&'static str, Error> {
    session.insert("n", &2)?;
    Ok("written")
}

async fn log_out(session: Session) -> Result<&'static str, Error> {
    session.flush()?;
    Ok("good bye")
}

async fn log_out_unseen(session: LazySession) -> Result<&'static str, Error> {
    session.flush()?;
    Ok("good bye")
}

/// Status and cookie of a request to the misled service.
async fn request(store: &Store, path: &str, key: &SessionKey) -> (u16, Option<String>) {
    let app = App::new()
        .wrap(SessionMiddleware::new(store.clone()))
        .route("/look", web::get().to(look))
        .route("/write", web::get().to(write))
        .route("/logout", web::get().to(log_out))
        .route("/unseen", web::get().to(log_out_unseen));
    let app = test::init_service(app).await;
    let cookie = (header::COOKIE, format!("sessionid={}", key.as_str()));
    let request = test::TestRequest::get().uri(path).insert_header(cookie).to_request();
    let response = test::call_service(&app, request).await;
    let cookie = response.headers().get(header::SET_COOKIE).map(|line| line.to_str().unwrap().to_owned());
    (response.status().as_u16(), cookie)
}

/// Reads and writes leave a session that cannot be read alone. Only an explicit logout ends it: the visitor
/// wants to be logged out, whatever this service can read.
#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn only_a_logout_ends_a_session_that_cannot_be_read() {
    for kind in stores::every().await {
        let (name, store, misled) = (kind.name, &kind.store, &kind.misled);
        for logout in ["/logout", "/unseen"] {
            let session = Session::new(store);
            session.insert("n", &1).unwrap();
            session.save().await.unwrap();
            let key = session.session_key().unwrap();
            assert!(Session::open(misled, &key).await.unwrap_err().is_unreadable(), "{name}");

            assert_eq!(request(misled, "/look", &key).await, (200, None), "{name}: the cookie stays");
            let (status, cookie) = request(misled, "/write", &key).await;
            assert!(status == 200 && !cookie.unwrap().contains(key.as_str()), "{name}: a session of its own");
            let again = Session::open(store, &key).await.unwrap().expect(name);
            assert_eq!(again.get("n").unwrap(), Some(1), "{name}: the session is as it was");

            let (status, cookie) = request(misled, logout, &key).await;
            assert!(status == 200 && cookie.unwrap().starts_with("sessionid=\"\";"), "{name} {logout}");
            assert!(Session::open(store, &key).await.unwrap().is_none(), "{name} {logout}: it is ended");
            assert!(!store.exists(&key).await.unwrap(), "{name} {logout}");
        }
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
async fn a_store_deletes_what_it_cannot_read() {
    for kind in stores::every().await {
        let session = Session::new(&kind.store);
        session.insert("n", &1).unwrap();
        session.save().await.unwrap();
        let key = session.session_key().unwrap();
        assert!(kind.misled.delete(&key).await.unwrap(), "{}", kind.name);
        assert!(Session::open(&kind.store, &key).await.unwrap().is_none(), "{}", kind.name);
    }
}
