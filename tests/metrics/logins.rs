//! Logins and logouts.

use std::time::Duration;

use actix_django_session::{
    SecretKey, SessionMiddleware, Store,
    auth::{
        Auth, AuthMiddleware, AuthSession, Credentials, DatabaseThrottle, NewUser, Users,
        password::{PasswordHasher, PasswordHashers},
    },
    backend::Postgres,
};
use actix_web::{HttpResponse, web};

use crate::{
    recorder::Recorder,
    support::{http::Client, postgres::Database, site::Site},
};

const COUNTED: &[&str] =
    &["login_attempts_total", "logins_total", "logouts_total", "password_hash_seconds_count", "errors_total"];

fn site(database: &Database) -> Site {
    async fn log_in(
        auth: AuthSession,
        password: String,
    ) -> Result<HttpResponse, actix_django_session::Error> {
        let user = auth.authenticate(&Credentials::form("secret-name", &password)).await?;
        let Some(user) = user else { return Ok(HttpResponse::Forbidden().finish()) };
        auth.login(&user).await?;
        Ok(HttpResponse::Ok().finish())
    }
    async fn log_out(auth: AuthSession) -> Result<HttpResponse, actix_django_session::Error> {
        auth.logout().await?;
        Ok(HttpResponse::Ok().finish())
    }
    let url = database.url().to_owned();
    Site::serve(1, async move || {
        let (postgres, secret) = (Postgres::connect(&url).await.unwrap(), SecretKey::new("a secret"));
        let (users, store) = (Users::postgres(&postgres), Store::new(postgres, secret.clone()));
        store.create_table().await.unwrap();
        users.create_tables().await.unwrap();
        let throttle = DatabaseThrottle::new(&users, &secret).unwrap();
        let throttle = throttle.per_user_and_address(2, Duration::from_secs(3600));
        throttle.create_table().await.unwrap();
        let hashers = PasswordHashers::new(PasswordHasher::pbkdf2_sha256(100));
        let auth = Auth::new(users, secret).unwrap().hashers(hashers).unwrap().throttle(throttle);
        auth.create_user(NewUser::new("secret-name"), Some("right")).await.unwrap();
        let session = SessionMiddleware::new(store);
        move |config: &mut web::ServiceConfig| {
            let scope = web::scope("").wrap(AuthMiddleware::new(auth.clone())).wrap(session.clone());
            config.service(
                scope.route("/log-in", web::post().to(log_in)).route("/log-out", web::post().to(log_out)),
            );
        }
    })
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn attempts_logins_and_logouts_are_counted() {
    let mut recorder = Recorder::new();
    let database = Database::fresh();
    let site = site(&database);
    let mut client = Client::new();
    let mut expect = |path: &str, password: &str, status: u16, expected: &[&str]| {
        recorder.begin();
        let body = Some(password.as_bytes());
        let reply = client.request("POST", &site.url(path), &[("content-type", "text/plain")], body);
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert_eq!(recorder.changes(COUNTED), expected, "{path} {password}");
    };
    let one = |result: &str| format!("login_attempts_total{{result=\"{result}\"}} 1");
    let hashed = "password_hash_seconds_count 1";
    expect("/log-in", "right", 200, &[&one("accepted"), "logins_total 1", hashed]);
    expect("/log-out", "", 200, &["logouts_total 1"]);
    expect("/log-in", "wrong", 403, &[&one("rejected"), hashed]);
    expect("/log-in", "wrong", 403, &[&one("rejected"), hashed]);
    expect("/log-in", "right", 429, &["errors_total{kind=\"login\"} 1", &one("throttled")]);
    let text = recorder.text();
    assert!(!text.contains("secret-name") && !text.contains("127.0.0.1"), "{text}");
    assert_eq!(recorder.value("password_hashes"), 0.0);
}
