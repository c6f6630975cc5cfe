//! Login and logout over a session: what is kept, what is flushed, who is logged in afterwards.

use std::{future::pending, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use actix_django_session::{
    Error, LazySession, SecretKey, Session, SessionKey, SessionMiddleware, Store,
    auth::{
        AcceptedBackend, Auth, AuthMiddleware, AuthSession, AuthSettings, Credentials, FreshLogin,
        ModelBackend, NewUser, StaffUser, User,
        password::{PasswordHasher, PasswordHashers},
    },
    backend::Memory,
};
use actix_web::{
    App, HttpResponse,
    cookie::Cookie,
    dev::ServiceResponse,
    http::StatusCode,
    test::{TestRequest, call_service, init_service, read_body},
    web,
};
use futures_util::FutureExt as _;
use tokio::sync::Notify;

use crate::{
    support::gate::Gated,
    users::{Tables, secret},
};

const PASSWORD: &str = "a long password";

/// Signs in with the name in the query, and answers with the status in it.
async fn sign_in(auth: AuthSession, query: web::Query<SignIn>) -> Result<HttpResponse, Error> {
    let password = query.password.as_deref().unwrap_or(PASSWORD);
    let Some(user) = auth.authenticate(&Credentials::password(&query.user, password)).await? else {
        return Ok(HttpResponse::Ok().body("wrong"));
    };
    auth.login(&user).await?;
    Ok(answer(&query, auth.user().await?.unwrap().username().to_owned()))
}

fn answer(query: &SignIn, body: String) -> HttpResponse {
    HttpResponse::build(StatusCode::from_u16(query.status.unwrap_or(200)).unwrap()).body(body)
}

#[derive(serde::Deserialize)]
struct SignIn {
    #[serde(default)]
    user: String,
    password: Option<String>,
    status: Option<u16>,
}

async fn sign_out(auth: AuthSession) -> Result<&'static str, Error> {
    auth.logout().await?;
    assert!(auth.user().await?.is_none());
    Ok("out")
}

async fn who(user: Option<User>) -> String {
    user.map_or("nobody".to_owned(), |user| user.username().to_owned())
}

async fn add(session: Session, path: web::Path<String>) -> Result<String, Error> {
    session.insert("cart", &*path)?;
    Ok(String::new())
}

/// Answers with the status in the query.
async fn new_password(
    auth: AuthSession,
    lazy: LazySession,
    store: web::Data<Store>,
    path: web::Path<String>,
    query: web::Query<SignIn>,
) -> Result<HttpResponse, Error> {
    match path.as_str() {
        "change" => auth.change_password("another").await?,
        // Another request logs out in the meantime.
        "late-change" | "late-update" => {
            let user = auth.user().await?.unwrap();
            assert!(store.delete(&lazy.session_key().unwrap()).await?);
            if path.as_str() == "late-change" {
                auth.change_password("another").await?;
            } else {
                auth.update_session_auth_hash(&auth.auth().set_password(&user, "another").await?).await?;
            }
        }
        // The user is not looked at before.
        "update" => {
            let user = auth.auth().users().get_by_username("ann").await?.unwrap();
            let user = auth.auth().set_password(&user, "another").await?;
            auth.update_session_auth_hash(&user).await?;
        }
        _ => {
            let user = auth.auth().users().get_by_username("ann").await?.unwrap();
            auth.auth().set_password(&user, "another").await?;
        }
    }
    let user = auth.user().await?;
    Ok(answer(&query, user.map_or("nobody".to_owned(), |user| user.username().to_owned())))
}

/// Lists the sessions, ends the oldest other one, then all others.
async fn elsewhere(auth: AuthSession) -> Result<String, Error> {
    let sessions = auth.sessions().await?;
    let others: Vec<_> = sessions.iter().filter(|session| !session.is_current()).collect();
    let ended = match others.last() {
        Some(other) => auth.end_session(&other.id()).await?,
        None => false,
    };
    assert!(!auth.end_session(&sessions[0].id()).await?, "not the current one");
    assert!(!auth.end_session("x").await?);
    Ok(format!("{} {ended} {}", sessions.len(), auth.end_other_sessions().await?))
}

/// Logs out, leaves something for the next visitor, and fails.
async fn failing_sign_out(auth: AuthSession, session: Session) -> Result<HttpResponse, Error> {
    auth.logout().await?;
    session.insert("bye", "bye")?;
    Ok(HttpResponse::InternalServerError().finish())
}

/// Logs out while the session is loaded, leaves something for the next visitor, and fails.
async fn early_sign_out(auth: AuthSession, lazy: LazySession) -> Result<HttpResponse, Error> {
    let mut load = Box::pin(lazy.load());
    assert!((&mut load).now_or_never().is_none(), "a load is in flight");
    auth.logout().await?;
    load.await?.insert("bye", "bye")?;
    Ok(HttpResponse::InternalServerError().finish())
}

/// Looks at the user while other requests do so too.
async fn slow_who(session: LazySession, auth: AuthSession) -> Result<String, Error> {
    session.load().await?;
    actix_web::rt::time::sleep(Duration::from_millis(100)).await;
    Ok(auth.user().await?.map_or("nobody".to_owned(), |user| user.username().to_owned()))
}

/// Between the new password and the session's new hash, another request may come.
async fn slow_password(auth: AuthSession) -> Result<String, Error> {
    let user = auth.user().await?.unwrap();
    let user = auth.auth().set_password(&user, "another").await?;
    actix_web::rt::time::sleep(Duration::from_millis(300)).await;
    auth.update_session_auth_hash(&user).await?;
    Ok(String::new())
}

async fn confirm(auth: AuthSession, query: web::Query<SignIn>) -> Result<HttpResponse, Error> {
    let is_right = auth.confirm_password(query.password.as_deref().unwrap_or(PASSWORD)).await?;
    Ok(answer(&query, is_right.to_string()))
}

/// Confirms the password, says so, and answers never.
async fn stuck_confirm(auth: AuthSession, confirmed: web::Data<Notify>) -> Result<String, Error> {
    assert!(auth.confirm_password(PASSWORD).await?);
    confirmed.notify_one();
    pending().await
}

async fn fresh(FreshLogin(user): FreshLogin) -> String {
    user.username().to_owned()
}

async fn staff(StaffUser(user): StaffUser) -> String {
    user.username().to_owned()
}

async fn slow_sign_in(session: LazySession, auth: AuthSession) -> Result<String, Error> {
    session.load().await?;
    let user = auth.authenticate(&Credentials::password("ann", PASSWORD)).await?.unwrap();
    actix_web::rt::time::sleep(Duration::from_millis(100)).await; // so that two of them meet
    auth.login(&user).await?;
    Ok(String::new())
}

macro_rules! app {
    ($tables:expr, $auth:expr) => {
        app!($tables, $auth, Arc::new(Notify::new()))
    };
    ($tables:expr, $auth:expr, $confirmed:expr) => {{
        let service = init_service(
            App::new()
                .app_data(web::Data::new($tables.store.clone()))
                .app_data(web::Data::from($confirmed))
                .route("/early-out", web::get().to(early_sign_out))
                .route("/stuck-confirm", web::get().to(stuck_confirm))
                .route("/in", web::get().to(sign_in))
                .route("/slow", web::get().to(slow_sign_in))
                .route("/out", web::get().to(sign_out))
                .route("/failing-out", web::get().to(failing_sign_out))
                .route("/slow-who", web::get().to(slow_who))
                .route("/slow-password", web::get().to(slow_password))
                .route("/confirm", web::get().to(confirm))
                .route("/fresh", web::get().to(fresh))
                .route("/staff", web::get().to(staff))
                .route("/elsewhere", web::get().to(elsewhere))
                .route("/who", web::get().to(who))
                .route("/add/{value}", web::get().to(add))
                .route("/password/{how}", web::get().to(new_password))
                .wrap(AuthMiddleware::new($auth))
                .wrap(SessionMiddleware::new($tables.store.clone())),
        )
        .await;
        let service = Rc::new(service);
        let site: Site = Box::new(move |request| {
            let service = service.clone();
            Box::pin(async move { call_service(&*service, request.to_request()).await })
        });
        site
    }};
}

type Site = Box<dyn Fn(TestRequest) -> Pin<Box<dyn Future<Output = ServiceResponse>>>>;

/// A browser with one cookie.
#[derive(Clone, Default)]
struct Browser {
    key: Option<String>,
}

impl Browser {
    async fn get(&mut self, app: &Site, path: &str) -> (StatusCode, String) {
        let mut request = TestRequest::get().uri(path);
        if let Some(key) = &self.key {
            request = request.cookie(Cookie::new("sessionid", key.clone()));
        }
        let reply = app(request).await;
        if let Some(cookie) = reply.response().cookies().find(|cookie| cookie.name() == "sessionid") {
            self.key = Some(cookie.value().to_owned()).filter(|key| !key.is_empty());
        }
        let status = reply.status();
        (status, String::from_utf8(read_body(reply).await.to_vec()).unwrap())
    }

    async fn ok(&mut self, app: &Site, path: &str) -> String {
        let (status, body) = self.get(app, path).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    async fn session(&self, tables: &Tables) -> Option<Session> {
        let key = SessionKey::parse(self.key.as_ref()?)?;
        Session::open(&tables.store, &key).await.unwrap()
    }

    async fn keys(&self, tables: &Tables) -> Vec<String> {
        self.session(tables).await.map_or(Vec::new(), |session| session.keys())
    }
}

async fn with_ann(tables: &Tables) -> Auth {
    let auth = tables.auth();
    auth.create_user(NewUser::new("ann"), Some(PASSWORD)).await.unwrap();
    auth.create_user(NewUser::new("bob"), Some(PASSWORD)).await.unwrap();
    auth
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn login_and_logout() {
    for tables in Tables::both().await {
        let app = app!(tables, with_ann(&tables).await);
        let mut browser = Browser::default();
        assert_eq!(browser.ok(&app, "/who").await, "nobody");
        assert_eq!(browser.ok(&app, "/in?user=ann&password=x").await, "wrong");
        assert_eq!(browser.ok(&app, "/in?user=nobody").await, "wrong");
        assert_eq!(browser.key, None);
        assert_eq!(browser.ok(&app, "/in?user=ann").await, "ann");
        assert_eq!(browser.ok(&app, "/who").await, "ann");
        let names = ["_auth_user_id", "_auth_user_backend", "_auth_user_hash"];
        assert_eq!(browser.keys(&tables).await, names);
        let ann = tables.users.get("1").await.unwrap().unwrap();
        assert!(ann.last_login().unwrap().elapsed().unwrap() < Duration::from_secs(60));
        let old = browser.clone();
        assert_eq!(browser.ok(&app, "/out").await, "out");
        assert_eq!((browser.key.as_ref(), old.session(&tables).await.is_none()), (None, true));
        assert_eq!(old.clone().ok(&app, "/who").await, "nobody");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn what_a_login_keeps() {
    for tables in Tables::both().await {
        let app = app!(tables, with_ann(&tables).await);
        // An anonymous visitor's data.
        let mut browser = Browser::default();
        browser.ok(&app, "/add/1").await;
        let anonymous = browser.clone();
        browser.ok(&app, "/in?user=ann").await;
        assert_ne!(browser.key, anonymous.key);
        assert!(anonymous.session(&tables).await.is_none());
        assert_eq!(browser.keys(&tables).await[0], "cart");
        // The same user: key and data stay.
        let ann = browser.clone();
        browser.ok(&app, "/in?user=ann").await;
        assert_eq!((&browser.key, browser.keys(&tables).await.len()), (&ann.key, 4));
        // Another user.
        browser.ok(&app, "/in?user=bob").await;
        assert_ne!(browser.key, ann.key);
        assert!(ann.session(&tables).await.is_none());
        assert_eq!(browser.keys(&tables).await.len(), 3);
        // The same user with another hash.
        let session = browser.session(&tables).await.unwrap();
        session.insert("_auth_user_hash", "0").unwrap();
        session.insert("cart", "2").unwrap();
        session.save().await.unwrap();
        browser.ok(&app, "/in?user=bob").await;
        assert_eq!(browser.keys(&tables).await.len(), 3);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_login_that_fails_later_loses_nothing() {
    for tables in Tables::both().await {
        let app = app!(tables, with_ann(&tables).await);
        let mut browser = Browser::default();
        browser.ok(&app, "/add/1").await;
        let before = browser.clone();
        assert_eq!(browser.get(&app, "/in?user=ann&status=500").await.0, 500);
        assert_eq!(browser.key, before.key);
        assert_eq!(browser.keys(&tables).await, ["cart"]);
        assert_eq!(browser.ok(&app, "/who").await, "nobody");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn two_logins_of_one_browser_at_once() {
    for tables in Tables::both().await {
        let app = app!(tables, with_ann(&tables).await);
        let mut browser = Browser::default();
        browser.ok(&app, "/add/1").await;
        let (mut one, mut two) = (browser.clone(), browser.clone());
        let replies = futures_util::future::join(one.get(&app, "/slow"), two.get(&app, "/slow")).await;
        assert_eq!((replies.0.0, replies.1.0), (StatusCode::OK, StatusCode::OK));
        assert_ne!(one.key, two.key);
        for browser in [&mut one, &mut two] {
            assert_eq!(browser.ok(&app, "/who").await, "ann");
            assert_eq!(browser.keys(&tables).await.len(), 4, "with the cart");
        }
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_session_of_another_password_is_flushed() {
    for tables in Tables::both().await {
        let app = app!(tables, with_ann(&tables).await);
        let (mut browser, mut other) = (Browser::default(), Browser::default());
        for how in ["change", "update"] {
            browser.ok(&app, "/in?user=ann&password=another").await;
            if browser.key.is_none() {
                browser.ok(&app, "/in?user=ann").await;
            }
            other.key = None;
            other
                .ok(
                    &app,
                    &format!(
                        "/in?user=ann&password={}",
                        if how == "change" { "a%20long%20password" } else { "another" }
                    ),
                )
                .await;
            let before = browser.clone();
            assert_eq!(browser.ok(&app, &format!("/password/{how}")).await, "ann", "{how}");
            assert_ne!(browser.key, before.key, "{how}");
            assert!(before.session(&tables).await.is_none(), "{how}");
            assert_eq!(browser.ok(&app, "/who").await, "ann", "{how}");
            let old = other.clone();
            assert_eq!(other.ok(&app, "/who").await, "nobody", "{how}");
            assert!(other.key.is_none() && old.session(&tables).await.is_none(), "{how}");
        }
        assert_eq!(browser.ok(&app, "/password/set").await, "nobody");
        assert_eq!(browser.key, None);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_fallback_secret_renews_the_session() {
    for tables in Tables::both().await {
        let old = app!(tables, with_ann(&tables).await);
        let mut browser = Browser::default();
        browser.ok(&old, "/in?user=ann").await;
        let before = browser.clone();
        let session = before.session(&tables).await.unwrap();
        let hash: String = session.get("_auth_user_hash").unwrap().unwrap();

        let rotated = SecretKey::new("a newer secret").with_fallbacks(["a secret"]);
        let auth = Auth::new(tables.users.clone(), rotated).unwrap();
        let new = app!(tables, auth);
        browser.ok(&new, "/add/1").await;
        assert_eq!(browser.key, before.key, "a request that does not ask renews nothing");
        assert_eq!(browser.ok(&new, "/who").await, "ann");
        assert_ne!(browser.key, before.key);
        assert!(before.session(&tables).await.is_none());
        let renewed: String =
            browser.session(&tables).await.unwrap().get("_auth_user_hash").unwrap().unwrap();
        assert_ne!(renewed, hash);
        let key = browser.key.clone();
        assert_eq!(browser.ok(&new, "/who").await, "ann");
        assert_eq!(browser.key, key, "once");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn whoever_cannot_be_logged_in_keeps_the_session() {
    for tables in Tables::both().await {
        let app = app!(tables, with_ann(&tables).await);
        let mut browser = Browser::default();
        browser.ok(&app, "/in?user=ann").await;
        let session = browser.session(&tables).await.unwrap();
        let (id, path) = ("\"1\"", "\"django.contrib.auth.backends.ModelBackend\"");
        for (key, json, restored) in [
            ("_auth_user_id", "\"abc\"", id),
            ("_auth_user_id", "null", id),
            ("_auth_user_id", "[]", id),
            ("_auth_user_id", "\"99\"", id),
            ("_auth_user_id", "\"1\\u0000\"", id),
            ("_auth_user_id", "99999999999999999999", id),
            ("_auth_user_backend", "\"no.such.Backend\"", path),
            ("_auth_user_backend", "7", path),
            ("_auth_user_backend", "null", path),
        ] {
            session.insert_json(key, json).unwrap();
            session.save().await.unwrap();
            let before = browser.key.clone();
            assert_eq!(browser.ok(&app, "/who").await, "nobody", "{key} {json}");
            assert_eq!(browser.key, before);
            session.insert_json(key, restored).unwrap();
            session.save().await.unwrap();
            assert_eq!(browser.ok(&app, "/who").await, "ann", "{key} {json}");
        }
        tables.execute("UPDATE auth_user SET is_active = (1 = 0)");
        assert_eq!(browser.ok(&app, "/who").await, "nobody");
        assert_eq!(browser.clone().ok(&app, "/in?user=ann").await, "wrong");
        assert_eq!(browser.keys(&tables).await.len(), 3);
        let path = "django.contrib.auth.backends.ModelBackend";
        let auth = Auth::new(tables.users.clone(), secret()).unwrap();
        let all = app!(tables, auth.only_backend(AcceptedBackend::new(path).inactive_users(true)));
        assert_eq!(browser.ok(&all, "/who").await, "ann");
        tables.execute("UPDATE auth_user SET is_active = (1 = 1)");
        for json in ["\"\"", "null", "0", "[]", "\"0\""] {
            let session = browser.session(&tables).await.unwrap();
            session.insert_json("_auth_user_hash", json).unwrap();
            session.save().await.unwrap();
            assert_eq!(browser.ok(&app, "/who").await, "nobody", "{json}");
            assert_eq!(browser.key, None, "flushed: {json}");
            browser.ok(&app, "/in?user=ann").await;
        }
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_login_has_a_lifetime() {
    let tables = Tables::sqlite().await;
    let auth = with_ann(&tables).await;
    let settings =
        AuthSettings::default().lifetime(Duration::from_secs(3600)).idle_timeout(Duration::from_secs(600));
    let app = app!(tables, auth.settings(settings).unwrap());
    let mut browser = Browser::default();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    for (key, ago, expected) in [
        ("_auth_login_at", 3500, "ann"),
        ("_auth_login_at", 3600, "nobody"),
        ("_auth_seen_at", 590, "ann"),
        ("_auth_seen_at", 600, "nobody"),
    ] {
        browser.key = None;
        browser.ok(&app, "/in?user=ann").await;
        let session = browser.session(&tables).await.unwrap();
        assert_eq!(session.get::<u64>(key).unwrap().unwrap().abs_diff(now) / 100, 0);
        session.insert(key, &(now - ago)).unwrap();
        session.save().await.unwrap();
        assert_eq!(browser.ok(&app, "/who").await, expected, "{key} {ago}");
        let seen = browser
            .session(&tables)
            .await
            .map(|session| session.get::<u64>("_auth_seen_at").unwrap().unwrap());
        assert_eq!(seen.is_some_and(|seen| seen.abs_diff(now) < 100), expected == "ann", "{key} {ago}");
    }
    // A login made by Django has no times: it counts from now.
    let session = Session::new(&tables.store);
    browser.ok(&app, "/in?user=ann").await;
    for key in browser.keys(&tables).await.into_iter().filter(|key| !key.ends_with("_at")) {
        let json = browser.session(&tables).await.unwrap().get_json(&key).unwrap();
        session.insert_json(&key, &json).unwrap();
    }
    session.save().await.unwrap();
    browser.key = session.session_key().map(|key| key.as_str().to_owned());
    assert_eq!(browser.ok(&app, "/who").await, "ann");
    assert_eq!(browser.keys(&tables).await.len(), 5);
    // A new password does not revive it.
    let session = browser.session(&tables).await.unwrap();
    session.insert("_auth_login_at", &(now - 3700)).unwrap();
    session.save().await.unwrap();
    assert_eq!(browser.ok(&app, "/password/update").await, "nobody");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_database_that_is_away_is_no_anonymous_visitor() {
    let tables = Tables::postgres().await;
    let app = app!(tables, with_ann(&tables).await);
    let mut browser = Browser::default();
    browser.ok(&app, "/in?user=ann").await;
    tables.execute("ALTER TABLE auth_user RENAME TO elsewhere");
    assert_eq!(browser.get(&app, "/who").await.0, 503, "although the handler took an Option");
    assert_eq!(Browser::default().ok(&app, "/who").await, "nobody");
    tables.execute("ALTER TABLE elsewhere RENAME TO auth_user");
    assert_eq!(browser.ok(&app, "/who").await, "ann");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn sessions_elsewhere_are_listed_and_ended() {
    for tables in Tables::both().await {
        let app = app!(tables, with_ann(&tables).await);
        let mut browsers = vec![Browser::default(); 4];
        for browser in &mut browsers {
            browser.ok(&app, "/in?user=ann").await;
        }
        let mut bob = Browser::default();
        bob.ok(&app, "/in?user=bob").await;
        assert_eq!(browsers[0].ok(&app, "/elsewhere").await, "4 true 2");
        assert_eq!(browsers[0].ok(&app, "/elsewhere").await, "1 false 0");
        assert_eq!(browsers[0].ok(&app, "/who").await, "ann");
        for browser in &mut browsers[1..] {
            assert_eq!(browser.ok(&app, "/who").await, "nobody");
        }
        assert_eq!(bob.ok(&app, "/who").await, "bob");
        assert_eq!(Browser::default().get(&app, "/elsewhere").await.0, 401);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_logout_is_carried_out_although_the_request_fails() {
    for tables in Tables::both().await {
        let app = app!(tables, with_ann(&tables).await);
        let mut browser = Browser::default();
        browser.ok(&app, "/in?user=ann").await;
        let before = browser.clone();
        assert_eq!(browser.get(&app, "/failing-out").await.0, 500);
        assert_eq!((browser.key.clone(), before.session(&tables).await.is_none()), (None, true));
        assert_eq!(before.clone().ok(&app, "/who").await, "nobody");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_new_secret_fails_no_parallel_request() {
    for tables in Tables::both().await {
        let mut browser = Browser::default();
        let auth = with_ann(&tables).await;
        browser.ok(&app!(tables, auth), "/in?user=ann").await;
        let rotated = SecretKey::new("a newer secret").with_fallbacks(["a secret"]);
        let app = app!(tables, Auth::new(tables.users.clone(), rotated).unwrap());
        let mut all = vec![browser; 4];
        let old = all[0].key.clone();
        let gets = all.iter_mut().map(|browser| browser.get(&app, "/slow-who"));
        for (status, body) in futures_util::future::join_all(gets).await {
            assert_eq!((status.as_u16(), &*body), (200, "ann"));
        }
        let renewed: Vec<_> = all.iter().filter(|browser| browser.key != old).collect();
        assert_eq!(renewed.len(), 1, "one key, and nobody loses the cookie");
        assert_eq!(renewed[0].clone().ok(&app, "/who").await, "ann");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_logout_beside_a_load_is_carried_out_although_the_request_fails() {
    for mut tables in Tables::both().await {
        let gated = Gated::new(Memory::new());
        tables.store = gated.store();
        let app = app!(tables, with_ann(&tables).await);
        let mut browser = Browser::default();
        browser.ok(&app, "/in?user=ann").await;
        let before = browser.clone();
        gated.close("get"); // until the handler has logged out
        let let_it_load = async {
            gated.reached().await;
            gated.open();
        };
        let (reply, ()) = futures_util::future::join(browser.get(&app, "/early-out"), let_it_load).await;
        assert_eq!(reply.0, 500);
        assert_eq!((browser.key.clone(), before.session(&tables).await.is_none()), (None, true));
        assert_eq!(before.clone().ok(&app, "/who").await, "nobody");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_new_password_is_kept_by_a_request_that_fails_later() {
    for tables in Tables::both().await {
        let app = app!(tables, with_ann(&tables).await);
        let mut browser = Browser::default();
        browser.ok(&app, "/in?user=ann").await;
        let before = browser.clone();
        assert_eq!(browser.get(&app, "/password/change?status=500").await.0, 500);
        assert_ne!(browser.key, before.key);
        assert_eq!(browser.ok(&app, "/who").await, "ann");
        assert_eq!(Browser::default().ok(&app, "/in?user=ann&password=another").await, "ann");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_new_password_revives_no_session_that_was_logged_out_meanwhile() {
    for tables in Tables::both().await {
        let app = app!(tables, with_ann(&tables).await);
        for (how, password, status) in
            [("late-change", "a%20long%20password", 200), ("late-update", "another", 400)]
        {
            let mut browser = Browser::default();
            browser.ok(&app, &format!("/in?user=ann&password={password}")).await;
            let (got, body) = browser.get(&app, &format!("/password/{how}")).await;
            assert_eq!(got, status, "{how}: {body}");
            assert!(status != 200 || body == "nobody", "{how}: {body}");
            assert_eq!(browser.ok(&app, "/who").await, "nobody", "{how}");
            assert_eq!(tables.query("SELECT session_key FROM django_session").len(), 0, "{how}");
            assert_eq!(Browser::default().ok(&app, "/in?user=ann&password=another").await, "ann", "{how}");
            tables.execute("DELETE FROM django_session");
        }
    }
}

/// A site whose hashers renew Ann's hash, which she logs in with.
async fn with_an_old_hash(tables: &Tables) -> (Browser, Auth) {
    let settings = || AuthSettings::default().fresh_for(Duration::from_secs(300)).unauthorized(true);
    let weak = PasswordHashers::new(PasswordHasher::pbkdf2_sha256(50));
    let old = with_ann(tables).await.hashers(weak).unwrap().settings(settings()).unwrap();
    let ann = tables.users.get_by_username("ann").await.unwrap().unwrap();
    old.set_password(&ann, PASSWORD).await.unwrap();
    let mut browser = Browser::default();
    browser.ok(&app!(tables, old), "/in?user=ann").await;
    (browser, tables.auth().settings(settings()).unwrap())
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_renewed_hash_is_kept_by_a_request_that_fails_later() {
    for tables in Tables::both().await {
        let (mut browser, auth) = with_an_old_hash(&tables).await;
        let app = app!(tables, auth);
        let column = || tables.query("SELECT password FROM auth_user WHERE username = 'ann'");
        let before = column();
        assert_eq!(
            browser.get(&app, "/confirm?status=500").await,
            (StatusCode::INTERNAL_SERVER_ERROR, "true".to_owned())
        );
        assert_ne!(column(), before);
        assert_eq!(browser.ok(&app, "/who").await, "ann");
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_renewed_hash_logs_out_no_parallel_request() {
    for tables in Tables::both().await {
        let (browser, auth) = with_an_old_hash(&tables).await;
        let confirmed = Arc::new(Notify::new());
        let app = app!(tables, auth, confirmed.clone());
        let (mut confirming, mut parallel) = (browser.clone(), browser.clone());
        let confirm = confirming.get(&app, "/stuck-confirm");
        futures_util::future::select(Box::pin(confirm), Box::pin(confirmed.notified())).await;
        // It is cancelled by now.
        assert_eq!(parallel.ok(&app, "/who").await, "ann");
        assert_eq!(parallel.key, browser.key);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_request_between_a_new_password_and_the_new_hash_logs_out() {
    for tables in Tables::both().await {
        let app = app!(tables, with_ann(&tables).await);
        let mut browser = Browser::default();
        browser.ok(&app, "/in?user=ann").await;
        browser.ok(&app, "/add/1").await;
        let mut poll = browser.clone();
        let late = async {
            actix_web::rt::time::sleep(Duration::from_millis(150)).await;
            poll.ok(&app, "/who").await
        };
        let (changed, polled) = futures_util::future::join(browser.get(&app, "/slow-password"), late).await;
        assert_eq!((changed.0.as_u16(), &*polled), (400, "nobody"), "a flushed session is not revived");
        assert_eq!(browser.ok(&app, "/who").await, "nobody");
        assert_eq!(tables.query("SELECT session_key FROM django_session").len(), 0);
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_fresh_login_has_a_key_that_nobody_knew() {
    for tables in Tables::both().await {
        let settings = AuthSettings::default().fresh_for(Duration::from_secs(300)).unauthorized(true);
        let auth = with_ann(&tables).await;
        let app = app!(tables, auth.settings(settings).unwrap());
        let mut browser = Browser::default();
        browser.ok(&app, "/in?user=ann").await;
        assert_eq!(browser.ok(&app, "/fresh").await, "ann");
        for way in ["/confirm?user=x", "/in?user=ann"] {
            let session = browser.session(&tables).await.unwrap();
            session.insert("_auth_fresh_at", &1).unwrap();
            session.save().await.unwrap();
            assert_eq!(browser.get(&app, "/fresh").await.0, 401, "{way}");
            assert_eq!(browser.ok(&app, "/confirm?user=x&password=wrong").await, "false");
            let mut thief = browser.clone();
            browser.ok(&app, way).await;
            assert_eq!(browser.ok(&app, "/fresh").await, "ann", "{way}");
            assert_eq!(thief.get(&app, "/fresh").await.0, 401, "{way}");
        }
    }
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn a_login_does_not_revive_an_expired_one() {
    let tables = Tables::sqlite().await;
    let auth = with_ann(&tables).await;
    let settings = AuthSettings::default().idle_timeout(Duration::from_secs(600));
    let app = app!(tables, auth.settings(settings).unwrap());
    let mut browser = Browser::default();
    browser.ok(&app, "/in?user=ann").await;
    let session = browser.session(&tables).await.unwrap();
    session.insert("_auth_seen_at", &1).unwrap();
    session.save().await.unwrap();
    let mut old = browser.clone();
    browser.ok(&app, "/in?user=ann").await;
    assert_eq!(old.ok(&app, "/who").await, "nobody");
    assert_eq!(browser.ok(&app, "/who").await, "ann");
}

#[actix_web::test]
#[ignore = "needs PostgreSQL"]
async fn inactive_staff_is_no_staff() {
    let tables = Tables::postgres().await;
    let auth = with_ann(&tables).await.only_backend(ModelBackend::all_users());
    let app = app!(tables, auth);
    let mut browser = Browser::default();
    browser.ok(&app, "/in?user=ann").await;
    assert_eq!(browser.get(&app, "/staff").await.0, 403);
    tables.execute("UPDATE auth_user SET is_staff = true");
    assert_eq!(browser.ok(&app, "/staff").await, "ann");
    tables.execute("UPDATE auth_user SET is_active = false");
    assert_eq!(browser.ok(&app, "/who").await, "ann");
    assert_eq!(browser.get(&app, "/staff").await.0, 403);
}
