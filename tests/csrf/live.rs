//! Forms that one side renders, posted to the other: Django and Rust as two servers behind one browser.

use actix_django_session::{
    SecretKey, SessionMiddleware, Store,
    csrf::{CsrfMiddleware, CsrfSettings, CsrfToken},
};
use actix_web::web;

use crate::support::{
    django::{Django, PASSWORD, USER},
    http::Client,
    postgres::Database,
    site::Site,
};

const SECRET: &str = "a secret that both sites know";

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn forms_go_both_ways_with_the_secret_in_a_cookie() {
    forms_go_both_ways(false);
}

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn forms_go_both_ways_with_the_secret_in_the_session() {
    forms_go_both_ways(true);
}

fn forms_go_both_ways(use_sessions: bool) {
    let versions = Django::versions();
    assert!(!versions.is_empty());
    for version in versions {
        let database = Database::fresh();
        let flag = if use_sessions { "1" } else { "0" };
        let settings = [("SECRET_KEY", SECRET), ("CSRF_USE_SESSIONS", flag)];
        let django = Django::start(&version, database.url(), &settings);
        django.prepare();
        let url = database.url().to_owned();
        let ours = Site::serve(1, async move || {
            let store = Store::connect(&url, SecretKey::new(SECRET)).await.unwrap();
            let session = SessionMiddleware::new(store);
            let settings = CsrfSettings::default().use_sessions(use_sessions);
            let csrf = CsrfMiddleware::new().settings(settings).unwrap();
            move |config: &mut web::ServiceConfig| {
                let scope = web::scope("")
                    .wrap(csrf.clone())
                    .wrap(session.clone())
                    .route("/form", web::get().to(async |csrf: CsrfToken| csrf.hidden_input()))
                    .route("/form", web::post().to(async |body: web::Bytes| format!("{} bytes", body.len())));
                config.service(scope);
            }
        });

        from_django_to_rust(&django, &ours);
        from_rust_to_django(&django, &ours);
    }
}

fn from_django_to_rust(django: &Django, ours: &Site) {
    let mut visitor = Client::new();
    let page = visitor.get(&django.url("/admin/login/")).text();
    let token = token(&page);
    let reply = visitor.post_form(&ours.url("/form"), &[("csrfmiddlewaretoken", token)]);
    assert_eq!((reply.status, reply.text()), (200, "84 bytes".to_owned()), "{reply:?}");

    let mut stranger = Client::new();
    stranger.get(&django.url("/admin/login/"));
    let reply = stranger.post_form(&ours.url("/form"), &[("csrfmiddlewaretoken", token)]);
    assert_eq!(reply.status, 403, "another visitor's token: {reply:?}");
}

fn from_rust_to_django(django: &Django, ours: &Site) {
    let mut visitor = Client::new();
    let page = visitor.get(&ours.url("/form")).text();
    let mut stranger = Client::new();
    stranger.get(&ours.url("/form"));
    let fields = [("username", USER), ("password", PASSWORD), ("csrfmiddlewaretoken", token(&page))];
    let login = django.url("/admin/login/?next=/admin/");
    let reply = stranger.post_form(&login, &fields);
    assert_eq!(reply.status, 403, "another visitor's token: {reply:?}");

    let reply = visitor.post_form(&login, &fields);
    assert_eq!(reply.status, 302, "{reply:?}");
    // The login has changed the secret: the old token is worth nothing, on either side.
    let old = [("csrfmiddlewaretoken", token(&page))];
    assert_eq!(visitor.post_form(&ours.url("/form"), &old).status, 403);
    let page = visitor.get(&ours.url("/form")).text();
    let new = [("csrfmiddlewaretoken", token(&page))];
    assert_eq!(visitor.post_form(&ours.url("/form"), &new).status, 200);
    assert_eq!(visitor.get(&django.url("/admin/")).status, 200, "still logged in");
    assert_eq!(visitor.post_form(&django.url("/admin/logout/"), &new).status, 200);
    assert_eq!(visitor.get(&django.url("/admin/")).status, 302, "logged out by a form from Rust");
}

fn token(page: &str) -> &str {
    let (_, rest) = page.split_once("name=\"csrfmiddlewaretoken\" value=\"").unwrap();
    rest.split('"').next().unwrap()
}
