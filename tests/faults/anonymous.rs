//! Pages that are served without their sessions while the server is away, over HTTP.

use std::time::Duration;

use actix_django_session::{
    Error, SecretKey, Session, SessionMiddleware, SessionSettings, Store, StoreFailure,
    auth::{Auth, AuthMiddleware, AuthSession, LoginRequired, NewUser, User, Users},
    csrf::{CsrfMiddleware, CsrfSettings, CsrfToken},
    messages::{MessageSettings, MessageStorage, Messages, MessagesMiddleware},
};
use actix_web::{HttpResponse, web};

use super::SECRET;
use crate::support::{
    http::{Client, Reply},
    postgres::PrivateServer,
    proc::{PATIENCE, wait_until},
    redis::Redis,
    site::Site,
};

/// A site whose users are in `database`, and whose sessions are in the store of `url`.
fn site(url: &str, database: &str) -> Site {
    let (url, database) = (url.to_owned(), database.to_owned());
    Site::serve(1, async move || {
        let secret = || SecretKey::new(SECRET);
        let store = Store::connect(&url, secret()).await.unwrap();
        store.create_table().await.unwrap();
        let users = Users::of(&Store::connect(&database, secret()).await.unwrap()).unwrap();
        users.create_tables().await.unwrap();
        let auth = Auth::new(users, secret()).unwrap();
        auth.create_user(NewUser::new("ada"), None).await.unwrap();
        let settings = SessionSettings::default().when_store_fails(StoreFailure::Anonymous);
        let session = SessionMiddleware::new(store).settings(settings).unwrap();
        move |config: &mut web::ServiceConfig| {
            let csrf = CsrfMiddleware::new().settings(CsrfSettings::default().use_sessions(true)).unwrap();
            let messages = MessagesMiddleware::new(secret())
                .settings(MessageSettings::default().storage(MessageStorage::Session))
                .unwrap();
            let site = web::scope("")
                .wrap(messages)
                .wrap(AuthMiddleware::new(auth.clone()))
                .wrap(csrf)
                .wrap(session.clone())
                .route("/log-in", web::get().to(log_in))
                .route("/log-out", web::get().to(log_out))
                .route("/count", web::get().to(count))
                .route("/page", web::get().to(page))
                .route("/me", web::get().to(async |user: User| user.username().to_owned()))
                .route("/who", web::get().to(who))
                .route("/form", web::get().to(async |csrf: CsrfToken| csrf.token()))
                .route("/form", web::post().to(async || "posted"))
                .route("/say", web::get().to(say))
                .route("/messages", web::get().to(messages_of))
                .route("/rotate", web::get().to(rotate))
                .service(
                    web::resource("/members").wrap(LoginRequired::new()).to(async || "for members alone"),
                );
            config.service(site);
        }
    })
}

async fn log_in(auth: AuthSession) -> Result<&'static str, Error> {
    let user = auth.auth().users().get_by_username("ada").await?;
    auth.login(&user.ok_or_else(|| Error::value("no such user"))?).await?;
    Ok("welcome")
}

async fn log_out(auth: AuthSession) -> Result<&'static str, Error> {
    auth.logout().await?;
    Ok("good bye")
}

async fn count(session: Session) -> Result<String, Error> {
    Ok(session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?.to_string())
}

/// A page that greets whoever is there.
async fn page(session: Session, user: Option<User>) -> Result<HttpResponse, Error> {
    let name = user.map_or("nobody".to_owned(), |user| user.username().to_owned());
    let n: Option<u64> = session.get("n")?;
    Ok(HttpResponse::Ok()
        .insert_header(("cache-control", "max-age=600"))
        .body(format!("{name}, n {n:?}, degraded {}", session.is_degraded())))
}

async fn who(auth: AuthSession) -> Result<String, Error> {
    Ok(auth.user().await?.map_or("nobody".to_owned(), |user| user.username().to_owned()))
}

async fn say(messages: Messages) -> &'static str {
    messages.info("something new");
    "said"
}

async fn messages_of(messages: Messages) -> Result<String, Error> {
    let taken = messages.take().await?;
    Ok(taken.iter().map(|message| message.text.clone()).collect::<Vec<_>>().join(", "))
}

async fn rotate(csrf: CsrfToken) -> &'static str {
    csrf.rotate();
    "rotated"
}

/// A visitor who is logged in, has counted to 2, and has a message that was not shown.
fn known_visitor(site: &Site) -> Client {
    let mut visitor = Client::new();
    for (path, body) in
        [("/count", "1"), ("/log-in", "welcome"), ("/count", "2"), ("/form", ""), ("/say", "said")]
    {
        let reply = visitor.get(&site.url(path));
        assert!(reply.status == 200 && reply.text().contains(body), "{path}: {}", reply.text());
    }
    assert_eq!(visitor.get(&site.url("/page")).text(), "ada, n Some(2), degraded false");
    visitor
}

/// Body of a page that must be served, and kept by nobody.
fn served(visitor: &mut Client, site: &Site, path: &str) -> String {
    let reply = visitor.get(&site.url(path));
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    assert!(reply.set_cookies().is_empty(), "{path}: {:?}", reply.set_cookies());
    assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
    assert!(reply.header("vary").is_some_and(|vary| vary.contains("Cookie")), "{path}");
    reply.text()
}

fn unavailable(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}: {}", reply.url, reply.text());
    assert!(reply.set_cookies().is_empty(), "{}", reply.url);
    assert_eq!(reply.text(), "Service unavailable", "{}", reply.url);
}

/// All that can be said of a visitor while nobody knows who it is.
fn check_degraded(visitor: &mut Client, site: &Site, token: &str) {
    let before = visitor.cookies.clone();
    assert_eq!(served(visitor, site, "/page"), "nobody, n None, degraded true");
    assert_eq!(served(visitor, site, "/who"), "nobody");
    assert_eq!(served(visitor, site, "/messages"), "");
    assert_eq!(served(visitor, site, "/form").len(), 64, "a form is shown");
    // Who may be logged in is not sent to the login page.
    for path in ["/me", "/members", "/count", "/say", "/rotate", "/log-in", "/log-out"] {
        unavailable(&visitor.get(&site.url(path)));
    }
    unavailable(&visitor.post_form(&site.url("/form"), &[("csrfmiddlewaretoken", token)]));
    assert_eq!(visitor.cookies, before);
}

/// Nothing was lost: the visitor goes on where the outage began.
fn check_recovered(visitor: &mut Client, site: &Site, token: &str) {
    wait_until("the session should be there again", PATIENCE, || {
        visitor.get(&site.url("/page")).text() == "ada, n Some(2), degraded false"
    });
    assert_eq!(visitor.get(&site.url("/me")).text(), "ada");
    assert_eq!(visitor.get(&site.url("/members")).text(), "for members alone");
    assert_eq!(visitor.get(&site.url("/messages")).text(), "something new");
    let posted = visitor.post_form(&site.url("/form"), &[("csrfmiddlewaretoken", token)]);
    assert_eq!((posted.status, posted.text().as_str()), (200, "posted"), "the secret is the same");
    assert_eq!(visitor.get(&site.url("/count")).text(), "3");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn pages_are_served_without_postgres_and_nothing_is_lost() {
    let mut server = PrivateServer::start(&[]);
    let url = format!("{}?deadline=1", server.url());
    let site = site(&url, &url);
    let logs = site.logs();
    let mut visitor = known_visitor(&site);
    let token = visitor.get(&site.url("/form")).text();
    let before = server.query("SELECT session_key, session_data FROM django_session");

    for kind in ["stopped", "paused"] {
        match kind {
            "stopped" => server.stop_fast(),
            _ => server.pause(),
        }
        check_degraded(&mut visitor, &site, &token);
        match kind {
            "stopped" => server.start_again(),
            _ => server.resume(),
        }
        wait_until("the session should be there again", PATIENCE, || {
            visitor.get(&site.url("/page")).text() == "ada, n Some(2), degraded false"
        });
        assert_eq!(server.query("SELECT session_key, session_data FROM django_session"), before, "{kind}");
    }
    check_recovered(&mut visitor, &site, &token);
    wait_until("the recovery should be logged", PATIENCE, || {
        visitor.get(&site.url("/page"));
        !logs.with("works again").is_empty()
    });
    assert!(!logs.with("a request is served without its session: cannot load a session").is_empty());
    assert!(logs.with(&visitor.cookies["sessionid"]).iter().all(|line| line.contains("tokio_postgres")));
}

/// Sessions in Redis, and users in a PostgreSQL that stays.
#[test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
fn pages_are_served_without_redis() {
    let (server, mut redis) = (PrivateServer::start(&[]), Redis::start(&[("appendonly", "yes")]));
    let site = site(&redis.url(), &server.url());
    let mut visitor = known_visitor(&site);
    let token = visitor.get(&site.url("/form")).text();
    let login = "SELECT last_login FROM auth_user";
    let before = server.query(login);
    redis.kill();
    check_degraded(&mut visitor, &site, &token);
    assert_eq!(server.query(login), before, "a login that fails writes nothing");
    redis.start_again();
    check_recovered(&mut visitor, &site, &token);
}

/// Sessions in a Redis that stays, and users in a PostgreSQL that goes.
#[test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
fn a_user_who_cannot_be_loaded_degrades_the_session() {
    let (mut server, redis) = (PrivateServer::start(&[]), Redis::start(&[]));
    let site = site(&redis.url(), &format!("{}?deadline=1", server.url()));
    let mut visitor = known_visitor(&site);
    server.stop_fast();
    assert_eq!(served(&mut visitor, &site, "/page"), "nobody, n None, degraded true");
    for path in ["/me", "/members"] {
        unavailable(&visitor.get(&site.url(path)));
    }
    // What needs no user works as always.
    assert_eq!(visitor.get(&site.url("/count")).text(), "3");
    server.start_again();
    wait_until("the user should be there again", PATIENCE, || {
        visitor.get(&site.url("/page")).text() == "ada, n Some(3), degraded false"
    });
}

/// A session that is cached is read without the database; one that is not cached is degraded.
#[test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
fn cached_sessions_are_read_without_the_database() {
    let (mut server, mut redis) = (PrivateServer::start(&[]), Redis::start(&[]));
    let url = format!("cached:{} {}?deadline=1", redis.url(), server.url());
    let other = PrivateServer::start(&[]);
    let site = site(&url, &other.url());
    let mut visitor = known_visitor(&site);
    server.stop_fast();
    assert_eq!(visitor.get(&site.url("/page")).text(), "ada, n Some(2), degraded false");
    assert_eq!(visitor.get(&site.url("/me")).text(), "ada");
    unavailable(&visitor.get(&site.url("/count")));
    redis.kill();
    assert_eq!(served(&mut visitor, &site, "/page"), "nobody, n None, degraded true");
    server.start_again();
    wait_until("the database should serve without its cache", Duration::from_secs(30), || {
        visitor.get(&site.url("/page")).text() == "ada, n Some(2), degraded false"
    });
}
