//! Tokens in handlers, exemptions, nested middlewares, pages of rejections.

use actix_django_session::{
    HostSettings, SameSite, SecretKey, SessionMiddleware, SessionSettings, Store,
    backend::Memory,
    csrf::{CsrfMiddleware, CsrfSettings, CsrfToken},
};
use actix_web::{
    App, HttpResponse,
    body::MessageBody,
    dev::ServiceResponse,
    http::header,
    test::{self, TestRequest},
    web,
};

use super::recording::{Recording, unmasked};
use crate::support::logs;

const SECRET: &str = "abcdefghijklmnopqrstuvwxyzABCDEF";

async fn ok() -> &'static str {
    "ok"
}

/// The status of a POST without a token, by a visitor who has the cookie.
macro_rules! post {
    ($app:expr, $path:expr) => {{
        let cookie = (header::COOKIE, format!("csrftoken={SECRET}"));
        let request = TestRequest::post().uri($path).insert_header(cookie).to_request();
        test::call_service(&$app, request).await.status().as_u16()
    }};
}

fn set_cookie<B: MessageBody>(response: &ServiceResponse<B>) -> Option<&str> {
    response.headers().get(header::SET_COOKIE).map(|line| line.to_str().unwrap())
}

#[actix_web::test]
async fn the_hidden_input_is_djangos() {
    async fn page(csrf: CsrfToken) -> String {
        csrf.hidden_input()
    }
    let app = App::new().wrap(CsrfMiddleware::new()).route("/", web::get().to(page));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, TestRequest::get().uri("/").to_request()).await;
    let secret = set_cookie(&response).unwrap().strip_prefix("csrftoken=").unwrap()[..32].to_owned();
    let page = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
    let token = page.strip_prefix("<input type=\"hidden\" name=\"csrfmiddlewaretoken\" value=\"").unwrap();
    assert_eq!(unmasked(token.strip_suffix("\">").unwrap()), secret);
}

#[actix_web::test]
async fn taking_the_token_without_using_it_sends_nothing() {
    async fn page(_: CsrfToken) -> &'static str {
        "ok"
    }
    let app = App::new().wrap(CsrfMiddleware::new()).route("/", web::get().to(page));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, TestRequest::get().uri("/").to_request()).await;
    assert_eq!((set_cookie(&response), response.headers().get(header::VARY)), (None, None));
}

#[actix_web::test]
async fn a_handler_without_the_middleware_says_what_to_add() {
    async fn page(csrf: CsrfToken) -> String {
        csrf.token()
    }
    let logs = logs::capture();
    let app = test::init_service(App::new().route("/", web::get().to(page))).await;
    let response = test::call_service(&app, TestRequest::get().uri("/").to_request()).await;
    assert_eq!(response.status(), 500);
    assert_eq!(logs.with(".wrap(CsrfMiddleware::new())").len(), 1, "{:?}", logs.lines());
}

#[actix_web::test]
async fn sessions_without_their_middleware_say_what_to_add() {
    let csrf = CsrfMiddleware::new().settings(CsrfSettings::default().use_sessions(true)).unwrap();
    let store = Store::new(Memory::new(), SecretKey::new("a secret"));
    // The last wrap is the outermost: here the session is inside.
    let app = App::new().wrap(SessionMiddleware::new(store)).wrap(csrf).route("/", web::get().to(ok));
    let app = test::init_service(app).await;
    let logs = logs::capture();
    let error = test::try_call_service(&app, TestRequest::get().uri("/").to_request()).await.unwrap_err();
    assert_eq!(error.error_response().status(), 500);
    assert_eq!(logs.with("use_sessions needs a SessionMiddleware").len(), 1, "{:?}", logs.lines());
}

#[actix_web::test]
async fn with_sessions_a_store_that_is_away_fails_only_requests_that_need_the_secret() {
    async fn page(csrf: CsrfToken) -> String {
        csrf.token()
    }
    let store = Store::connect_lazy("postgres://user@127.0.0.1:1/db", SecretKey::new("a secret")).unwrap();
    let csrf = CsrfMiddleware::new().settings(CsrfSettings::default().use_sessions(true)).unwrap();
    let app = App::new()
        .route("/plain", web::get().to(ok))
        .route("/page", web::get().to(page))
        .wrap(csrf)
        .wrap(SessionMiddleware::new(store));
    let app = test::init_service(app).await;
    let cookie = || (header::COOKIE, "sessionid=0123456789abcdefghijklmnopqrstuv");
    for (request, status) in [
        (TestRequest::get().uri("/plain"), 200),
        (TestRequest::get().uri("/page"), 503),
        (TestRequest::post().uri("/plain"), 503),
    ] {
        let request = request.insert_header(cookie()).to_request();
        let answered = match test::try_call_service(&app, request).await {
            Ok(response) => response.status(),
            Err(error) => error.as_response_error().status_code(),
        };
        assert_eq!(answered, status);
    }
}

#[actix_web::test]
async fn exemptions_are_by_path_or_by_rule() {
    let csrf = CsrfMiddleware::new()
        .exempt_path("/hooks/{name}")
        .exempt_path("/api/{rest:.*}")
        .exempt(|req| req.path() == "/rule");
    let app = App::new()
        .wrap(csrf)
        .service(web::scope("/api").default_service(web::to(ok)))
        .default_service(web::to(ok));
    let app = test::init_service(app).await;
    for exempt in ["/hooks/a", "/api/", "/api/a/b", "/rule", "/hook%73/a"] {
        assert_eq!(post!(app, exempt), 200, "{exempt}");
    }
    for checked in ["/", "/hooks", "/hooks/", "/hooks/a/b", "/hooks/a/", "//hooks/a", "/apix", "/Hooks/a"] {
        assert_eq!(post!(app, checked), 403, "{checked}");
    }
}

#[actix_web::test]
async fn paths_of_exemptions_are_whole_inside_a_scope() {
    let csrf = CsrfMiddleware::new().exempt_path("/scope/free");
    let scope = web::scope("/scope").wrap(csrf).default_service(web::to(ok));
    let app = test::init_service(App::new().service(scope).default_service(web::to(ok))).await;
    assert_eq!(post!(app, "/scope/free"), 200);
    assert_eq!(post!(app, "/scope/other"), 403);
    assert_eq!(post!(app, "/outside"), 200, "no middleware is around it");
}

#[actix_web::test]
async fn an_inner_middleware_checks_what_an_outer_one_exempts_and_the_cookie_is_set_once() {
    async fn page(csrf: CsrfToken) -> String {
        csrf.token()
    }
    let inner = web::scope("/inner").wrap(CsrfMiddleware::new()).default_service(web::to(page));
    let app =
        App::new().wrap(CsrfMiddleware::new().exempt(|_| true)).service(inner).default_service(web::to(page));
    let app = test::init_service(app).await;
    assert_eq!((post!(app, "/"), post!(app, "/inner/")), (200, 403));
    let response = test::call_service(&app, TestRequest::get().uri("/inner/").to_request()).await;
    assert_eq!(response.headers().get_all(header::SET_COOKIE).count(), 1);
}

/// An inner one with settings of its own checks and renews the outer one's cookie.
#[actix_web::test]
async fn the_cookie_is_that_of_the_middleware_which_read_it() {
    async fn page(csrf: CsrfToken) -> String {
        csrf.token()
    }
    let csrf = |name: &str, path: &str| {
        let settings = CsrfSettings::default().cookie_name(name).cookie_path(path);
        CsrfMiddleware::new().settings(settings).unwrap()
    };
    let inner = web::scope("/inner").wrap(csrf("inner", "/inner")).default_service(web::to(page));
    let app = App::new().wrap(csrf("outer", "/app")).service(inner);
    let app = test::init_service(app).await;
    let response = test::call_service(&app, TestRequest::get().uri("/inner/").to_request()).await;
    assert_eq!(response.headers().get_all(header::SET_COOKIE).count(), 1);
    let line = set_cookie(&response).unwrap();
    assert!(line.starts_with("outer=") && line.contains("; Path=/app;"), "{line}");
    let cookie = line.split(';').next().unwrap().to_owned();
    let token = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
    for (cookie, status) in [(cookie.clone(), 200), (cookie.replace("outer", "inner"), 403)] {
        let request = TestRequest::post().uri("/inner/").insert_header((header::COOKIE, cookie));
        let request = request.insert_header(("x-csrftoken", &*token)).to_request();
        assert_eq!(test::call_service(&app, request).await.status(), status);
    }
}

#[actix_web::test]
async fn pages_of_rejections_are_djangos() {
    let recording = Recording::read();
    let hosts = HostSettings::default().secure_proxy_header("x-scheme", "https");
    let settings = CsrfSettings::default().hosts(hosts).max_form_fields(1);
    let csrf = CsrfMiddleware::new().settings(settings).unwrap();
    let app = test::init_service(App::new().wrap(csrf).default_service(web::to(ok))).await;
    let cookie = || TestRequest::post().insert_header((header::COOKIE, format!("csrftoken={SECRET}")));
    let too_long = cookie().insert_header((header::CONTENT_TYPE, "application/x-www-form-urlencoded"));
    for (request, page, status) in [
        (cookie(), "CSRF token missing.", 403),
        (TestRequest::post(), "CSRF cookie not set.", 403),
        (cookie().insert_header(("x-scheme", "https")), "Referer checking failed - no Referer.", 403),
        (too_long.set_payload("a&b"), "400", 400),
    ] {
        let response = test::call_service(&app, request.to_request()).await;
        assert_eq!(response.status(), status, "{page}");
        assert_eq!(response.headers().get(header::CONTENT_TYPE).unwrap(), "text/html; charset=utf-8");
        let body = String::from_utf8(test::read_body(response).await.to_vec()).unwrap();
        assert_eq!(body, recording.page(page), "{page}");
    }
}

#[actix_web::test]
async fn rejections_are_logged_with_their_reason_and_without_secrets() {
    let logs = logs::capture();
    let app = App::new().wrap(CsrfMiddleware::new()).default_service(web::to(ok));
    let app = test::init_service(app).await;
    let wrong = "FEDCBAzyxwvutsrqponmlkjihgfedcba";
    let request = TestRequest::post()
        .uri("/path?query=hidden")
        .insert_header((header::COOKIE, format!("csrftoken={SECRET}")))
        .insert_header(("x-csrftoken", wrong));
    assert_eq!(test::call_service(&app, request.to_request()).await.status(), 403);
    let reason = "Forbidden (CSRF token from the 'X-Csrftoken' HTTP header incorrect.): /path";
    assert_eq!(logs.with(reason).len(), 1, "{:?}", logs.lines());
    for hidden in [SECRET, wrong, "hidden"] {
        assert!(logs.with(hidden).is_empty(), "{hidden}: {:?}", logs.lines());
    }
}

#[actix_web::test]
async fn rejections_are_counted_and_their_texts_are_cut_and_escaped() {
    let logs = logs::capture();
    let app = App::new().wrap(CsrfMiddleware::new()).default_service(web::to(ok));
    let app = test::init_service(app).await;
    let origin = header::HeaderValue::from_bytes(b"https://a\x9b31mb").unwrap();
    for number in 0..100 {
        let uri = format!("/{number:03}/{}", "long".repeat(1000));
        let request = TestRequest::post().uri(&uri).insert_header((header::ORIGIN, origin.clone()));
        assert_eq!(test::call_service(&app, request.to_request()).await.status(), 403);
    }
    let lines = logs.with("Forbidden");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].len() < 600 && lines[0].contains("…"), "{lines:?}");
    assert!(lines[0].contains(r"https://a\u{9b}31mb does not match"), "{lines:?}");
}

#[actix_web::test]
async fn the_failure_response_is_the_applications() {
    let csrf = CsrfMiddleware::new()
        .failure_response(|req, reason| HttpResponse::ImATeapot().body(format!("{} {reason}", req.path())));
    let app = test::init_service(App::new().wrap(csrf).default_service(web::to(ok))).await;
    let response = test::call_service(&app, TestRequest::post().uri("/x").to_request()).await;
    assert_eq!(response.status(), 418);
    assert_eq!(test::read_body(response).await, "/x CSRF cookie not set.");
}

#[test]
fn settings_that_could_never_work_are_errors() {
    let settings = CsrfSettings::default;
    let wrong = [
        (settings().trusted_origins(["example.com"]), "no scheme or no host"),
        (settings().trusted_origins(["https://"]), "no scheme or no host"),
        (settings().trusted_origins(["https://*"]), "match nothing"),
        (settings().trusted_origins(["https://[x]"]), "malformed"),
        (settings().header_name("X CSRF"), "header_name"),
        (settings().cookie_name("a;b"), "cookie's name"),
        (settings().cookie_name("__Host-csrf"), "cookie_secure"),
        (settings().cookie_samesite(Some(SameSite::None)), "cookie_secure"),
        (settings().max_form_bytes(100_000_000), "max_buffered_bytes"),
        (settings().hosts(HostSettings::default().secure_proxy_header("a b", "c")), "secure_proxy_header"),
    ];
    for (settings, text) in wrong {
        let error = CsrfMiddleware::new().settings(settings).unwrap_err();
        assert!(error.is_configuration() && error.to_string().contains(text), "{error}");
    }
}

#[actix_web::test]
async fn a_session_by_token_header_needs_no_token() {
    let store = Store::new(Memory::new(), SecretKey::new("a secret"));
    let settings = SessionSettings::default().token_header("X-Session-Token");
    let session = SessionMiddleware::new(store).settings(settings).unwrap();
    let app = App::new().route("/", web::post().to(ok)).wrap(CsrfMiddleware::new()).wrap(session);
    let app = test::init_service(app).await;
    for (header, expected) in [("X-Session-Token", 200), ("X-Other", 403)] {
        let request = TestRequest::post().uri("/").insert_header((header, "x".repeat(32))).to_request();
        assert_eq!(test::call_service(&app, request).await.status(), expected, "{header}");
    }
}

/// Such a client keeps no cookies, whatever a login or a page does.
#[actix_web::test]
async fn a_session_by_token_header_gets_no_cookie() {
    async fn login(csrf: CsrfToken) -> String {
        csrf.rotate();
        csrf.token()
    }
    let store = Store::new(Memory::new(), SecretKey::new("a secret"));
    let settings = SessionSettings::default().token_header("X-Session-Token");
    let session = SessionMiddleware::new(store).settings(settings).unwrap();
    let app = App::new().route("/", web::to(login)).wrap(CsrfMiddleware::new()).wrap(session);
    let app = test::init_service(app).await;
    for cookie in ["", "csrftoken=malformed", &format!("csrftoken={SECRET}")] {
        for (header, expected) in [("X-Session-Token", 0), ("X-Other", 1)] {
            let request = TestRequest::get().uri("/").insert_header((header, "x".repeat(32)));
            let request = request.insert_header((header::COOKIE, cookie)).to_request();
            let response = test::call_service(&app, request).await;
            let found = response.headers().get_all(header::SET_COOKIE).count();
            assert_eq!((response.status().as_u16(), found), (200, expected), "{header}, {cookie}");
            assert_eq!(response.headers().contains_key(header::VARY), expected == 1, "{header}, {cookie}");
        }
    }
}
