//! Errors: what the client sees, what the log has, and what nobody may see.

use std::error::Error as _;

use actix_django_session::{
    Error, LazySession, Session, SessionExt as _, SessionKey, SessionMiddleware, SessionSettings,
    backend::{Cursor, Memory},
};
use actix_web::{
    App, HttpResponse,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    error::{ErrorImATeapot, ErrorServiceUnavailable},
    http::header,
    middleware::{Next, from_fn},
    test::{self, TestRequest},
    web,
};

use super::{body, cookie, cookies, count};
use crate::support::{
    logs,
    scripted::{Scripted, Step},
    stores::{self, memory},
};

/// Not as handlers' errors, which are responses by then: an error that goes through the services.
#[actix_web::test]
async fn an_error_from_inside_is_treated_as_the_response_it_becomes() {
    for (status, saved) in [(400, true), (418, true), (503, false)] {
        let memory = Memory::new();
        let app = App::new()
            .wrap(from_fn(move |req: ServiceRequest, _: Next<BoxBody>| async move {
                req.session()?.load().await?.insert("n", &1)?;
                Err::<ServiceResponse, _>(match status {
                    418 => ErrorImATeapot("from inside"),
                    503 => ErrorServiceUnavailable("from inside"),
                    _ => actix_web::error::ErrorBadRequest("from inside"),
                })
            }))
            .wrap(SessionMiddleware::new(stores::on(&memory)))
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
        assert_eq!(stores::len(&memory), usize::from(saved));
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
    assert_eq!(
        logs.with("no SessionMiddleware is wrapped around this handler").len(),
        1,
        "repeats are counted"
    );
}

/// The cause of an error that holds what nobody may see.
const LEAK: &str = "password=hunter2";

#[actix_web::test]
async fn error_causes_go_to_the_log_and_not_to_the_client() {
    let logs = logs::capture();
    let broken = Scripted::memory();
    broken.always("get", Step::Fail(|| Error::store_caused_by("cannot load", LEAK)));
    broken.always("write", Step::Fail(|| Error::store_caused_by("cannot save", LEAK)));
    let app = App::new()
        .wrap(SessionMiddleware::new(broken.store()))
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
    drop(app);
    assert!(logs.with(key).is_empty(), "the key is not");
    assert_eq!(broken.calls(), ["insert", "get", "get"]);
    drop(broken);
    assert_eq!(logs.total(LEAK), 3, "also where a handler passed it on");
}

#[test]
fn clones_of_an_error_share_its_cause() {
    let error = Error::store_caused_by("cannot load", std::io::Error::other("the disk is on fire"));
    let clone = error.clone();
    assert!(clone.is_store());
    assert_eq!(clone.with_causes(), "cannot load: the disk is on fire");
    assert_eq!(format!("{clone:?}"), format!("{error:?}"));
    let cause = |error: &Error| std::ptr::from_ref(error.source().unwrap()).addr();
    assert_eq!(cause(&clone), cause(&error));
    drop(error);
    assert!(clone.source().unwrap().is::<std::io::Error>());
}

#[actix_web::test]
async fn debug_output_shows_no_key_secret_or_data() {
    let memory = Memory::new();
    let store = stores::on(&memory);
    let session = Session::new(&store);
    session.insert("name", "Ada").unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let codec = actix_django_session::codec::Codec::new(actix_django_session::SecretKey::new("hunter2"));
    let entry = store.entry(&key).await.unwrap().unwrap();
    let middleware = SessionMiddleware::new(store.clone());
    for text in [
        format!("{session:?}"),
        format!("{key:?}"),
        format!("{:?}", Cursor::new(key.as_str())),
        format!("{codec:?}"),
        format!("{entry:?}"),
        format!("{middleware:?}"),
        format!("{store:?}"),
        format!("{memory:?}"),
    ] {
        for secret in [key.as_str(), "hunter2", "Ada"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[test]
fn settings_that_browsers_reject_are_configuration_errors() {
    let refused = |settings: SessionSettings| {
        let error = SessionMiddleware::new(memory()).settings(settings).unwrap_err();
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
    SessionMiddleware::new(memory()).settings(host).unwrap();
}

/// Renames the row, saves, and goes on with changes that are not saved. Then fails, or leaves that to the
/// save.
async fn rename_and_fail(session: Session, path: web::Path<String>) -> Result<HttpResponse, Error> {
    session.cycle_key()?;
    session.save().await?;
    session.insert("n", &2)?;
    match path.as_str() {
        "cycle" => session.cycle_key()?,
        "flush" => {
            session.flush()?;
            session.insert("n", &3)?;
        }
        "save" => return Ok(HttpResponse::Ok().finish()),
        _ => {}
    }
    Ok(HttpResponse::InternalServerError().finish())
}

#[actix_web::test]
async fn a_failed_request_tells_the_key_of_a_row_that_it_has_renamed() {
    for (path, status) in [("plain", 500), ("cycle", 500), ("flush", 500), ("save", 503)] {
        for by_token in [false, true] {
            let scripted = Scripted::memory();
            let store = scripted.store();
            let session = Session::new(&store);
            session.insert("n", &1).unwrap();
            session.save().await.unwrap();
            let old = session.session_key().unwrap();
            scripted.then("update", Step::Fail(|| Error::store("the server is away")));
            let settings = SessionSettings::default().token_header("x-token");
            let app = App::new()
                .wrap(SessionMiddleware::new(store.clone()).settings(settings).unwrap())
                .route("/{path}", web::get().to(rename_and_fail));
            let app = test::init_service(app).await;
            let name = if by_token { "x-token" } else { "cookie" };
            let value = format!("{}{}", if by_token { "" } else { "sessionid=" }, old.as_str());
            let request = TestRequest::get().uri(&format!("/{path}")).insert_header((name, value));
            let response = test::call_service(&app, request.to_request()).await;
            assert_eq!(response.status(), status, "{path}");
            let told = match by_token {
                true => response.headers().get("x-token").map(|text| text.to_str().unwrap().to_owned()),
                false => Some(cookie(&response, "sessionid").replace("sessionid=", "")),
            };
            let key = SessionKey::parse(&told.expect("the new key")).unwrap();
            assert_ne!(key, old, "{path}");
            let session = Session::open(&store, &key).await.unwrap().expect("the stored key");
            assert_eq!(session.get("n").unwrap(), Some(1), "{path}: nothing else is saved");
        }
    }
}

#[actix_web::test]
async fn a_failed_request_tells_no_other_key() {
    let scripted = Scripted::memory();
    let app = App::new().wrap(SessionMiddleware::new(scripted.store())).route(
        "/",
        web::get().to(async |session: Session| -> Result<HttpResponse, Error> {
            session.insert("n", &1)?;
            session.save().await?;
            session.cycle_key()?;
            Ok(HttpResponse::InternalServerError().finish())
        }),
    );
    let app = test::init_service(app).await;
    let response = test::call_service(&app, TestRequest::get().uri("/").to_request()).await;
    assert!(cookies(&response).is_empty(), "a new session is lost, as in Django");
    let session = Session::new(&scripted.store());
    session.insert("n", &1).unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();
    let request =
        TestRequest::get().uri("/").insert_header(("cookie", format!("sessionid={}", key.as_str())));
    let response = test::call_service(&app, request.to_request()).await;
    assert!(cookies(&response).is_empty(), "the key is the same");
    assert!(scripted.store().entry(&key).await.unwrap().is_some());
}
