//! Errors: what the client sees, what the log has, and what nobody may see.

use std::time::SystemTime;

use actix_django_session::{
    Error, LazySession, Session, SessionExt as _, SessionKey, SessionMiddleware, SessionSettings,
    hooks::Function,
    store::{AnyStore, Loaded, MemoryStore, Outcome, Seen, SessionData, SessionStore},
};
use actix_web::{
    App,
    dev::{ServiceRequest, ServiceResponse},
    error::{ErrorImATeapot, ErrorServiceUnavailable},
    http::header,
    test::{self, TestRequest},
    web::{self},
};

use super::{body, cookies, count};
use crate::support::logs;

/// Not as handlers' errors, which are responses by then: an error that goes through the services.
#[actix_web::test]
async fn an_error_from_inside_is_treated_as_the_response_it_becomes() {
    for (status, saved) in [(400, true), (418, true), (503, false)] {
        let store = MemoryStore::new();
        let app = App::new()
            .wrap(Function::new(move |_| {
                Ok(move |req: ServiceRequest| async move {
                    req.session()?.load().await?.insert("n", &1)?;
                    Err::<ServiceResponse, _>(match status {
                        418 => ErrorImATeapot("from inside"),
                        503 => ErrorServiceUnavailable("from inside"),
                        _ => actix_web::error::ErrorBadRequest("from inside"),
                    })
                })
            }))
            .wrap(SessionMiddleware::new(store.clone()))
            .route("/", web::get().to(count));
        let app = test::init_service(app).await;
        let error = test::try_call_service(&app, TestRequest::get().uri("/").to_request()).await.unwrap_err();
        assert_eq!(error.to_string(), "from inside", "outer middleware still sees the error");
        for _ in 0..2 {
            let response = error.as_response_error().error_response();
            assert_eq!(response.status(), status);
            let cookies = response.headers().get_all(header::SET_COOKIE).count();
            assert_eq!(cookies, usize::from(saved), "{status}");
            assert_eq!(response.headers().get(header::VARY).unwrap(), "Cookie");
        }
        assert_eq!(format!("{store:?}"), format!("MemoryStore({} sessions)", usize::from(saved)));
    }
}

#[actix_web::test]
async fn without_the_middleware_the_extractors_fail_loudly() {
    let logs = logs::capture();
    let app = App::new()
        .route("/", web::get().to(count))
        .route("/lazy", web::get().to(async |_: LazySession| "never"));
    let app = test::init_service(app).await;
    for path in ["/", "/lazy"] {
        let response = test::call_service(&app, TestRequest::get().uri(path).to_request()).await;
        assert_eq!(response.status(), 500);
        assert_eq!(body(response).await, "Internal server error");
    }
    assert_eq!(logs.with("no SessionMiddleware is wrapped around this handler").len(), 2);
}

/// A store whose errors hold what nobody may see.
struct Broken;

const LEAK: &str = "password=hunter2";

impl SessionStore for Broken {
    async fn load(&self, _: &SessionKey) -> Result<Loaded, Error> {
        Err(Error::store_caused_by("cannot load", LEAK))
    }
    async fn create(&self, _: &SessionKey, _: &SessionData, _: SystemTime) -> Result<Outcome, Error> {
        Err(Error::store_caused_by("cannot create", LEAK))
    }
    async fn update(
        &self,
        _: &SessionKey,
        _: &Seen,
        _: &SessionData,
        _: SystemTime,
    ) -> Result<Outcome, Error> {
        unreachable!()
    }
    async fn rename(
        &self,
        _: &SessionKey,
        _: &Seen,
        _: &SessionKey,
        _: &SessionData,
        _: SystemTime,
    ) -> Result<Outcome, Error> {
        unreachable!()
    }
    async fn delete(&self, _: &SessionKey) -> Result<bool, Error> {
        unreachable!()
    }
    async fn exists(&self, _: &SessionKey) -> Result<bool, Error> {
        unreachable!()
    }
    async fn clear_expired(&self) -> Result<u64, Error> {
        unreachable!()
    }
}

#[actix_web::test]
async fn error_causes_go_to_the_log_and_not_to_the_client() {
    let logs = logs::capture();
    let app = App::new()
        .wrap(SessionMiddleware::new(Broken))
        .route("/", web::get().to(count))
        .route("/lazy", web::get().to(async |lazy: LazySession| lazy.load().await.map(|_| "loaded")))
        .route("/static", web::get().to(async || "served"));
    let app = test::init_service(app).await;
    let key = "0123456789abcdefghijklmnopqrstuv";
    for with_cookie in [false, true] {
        let mut request = TestRequest::get().uri("/");
        if with_cookie {
            request = request.insert_header(("cookie", format!("sessionid={key}")));
        }
        let response = test::call_service(&app, request.to_request()).await;
        assert_eq!(response.status(), 503);
        assert!(cookies(&response).is_empty(), "a store in trouble logs nobody out");
        assert_eq!(body(response).await, "Service unavailable");
    }
    let request = TestRequest::get().uri("/static").insert_header(("cookie", format!("sessionid={key}")));
    assert_eq!(test::call_service(&app, request.to_request()).await.status(), 200);
    assert_eq!(logs.with(LEAK).len(), 2, "the cause is in the log, once for each request");
    let lazy = TestRequest::get().uri("/lazy").insert_header(("cookie", format!("sessionid={key}")));
    assert_eq!(test::call_service(&app, lazy.to_request()).await.status(), 503);
    assert_eq!(logs.with(LEAK).len(), 3, "also where a handler passed it on");
    assert!(logs.with(key).is_empty(), "the key is not");
}

#[actix_web::test]
async fn debug_output_shows_no_key_secret_or_data() {
    let store = MemoryStore::new();
    let session = Session::create(&store);
    session.insert("name", "Ada").unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let codec = actix_django_session::codec::Codec::new(actix_django_session::SecretKey::new("hunter2"));
    let loaded = AnyStore::from(store.clone()).load(&key).await.unwrap();
    let middleware = SessionMiddleware::new(store.clone());
    for text in [
        format!("{session:?}"),
        format!("{key:?}"),
        format!("{codec:?}"),
        format!("{loaded:?}"),
        format!("{middleware:?}"),
        format!("{store:?}"),
    ] {
        for secret in [key.as_str(), "hunter2", "Ada"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn settings_that_browsers_reject_are_configuration_errors() {
    let refused = |settings: SessionSettings| {
        let error = SessionMiddleware::new(MemoryStore::new()).settings(settings).unwrap_err();
        assert!(error.is_configuration());
        error.to_string()
    };
    let settings = SessionSettings::default;
    assert!(refused(settings().cookie_name("__Host-s")).contains("cookie_secure(true)"));
    assert!(refused(settings().cookie_name("__Secure-s")).contains("cookie_secure(true)"));
    assert!(refused(settings().cookie_name("a b")).contains("cannot be a cookie's name"));
    assert!(refused(settings().cookie_path("/;x")).contains("cookie_path"));
    assert!(refused(settings().cookie_domain("x\r\ny")).contains("cookie_domain"));
    let host = settings().cookie_name("__Host-s").cookie_secure(true);
    SessionMiddleware::new(MemoryStore::new()).settings(host).unwrap();
}
