//! Requests that are served without their session while the store is away.

use std::time::Duration;

use actix_django_session::{
    Error, Expiry, LazySession, Session, SessionKey, SessionMiddleware, SessionSettings, Store, StoreFailure,
    codec::{Codec, JsonSerializer},
};
use actix_web::{
    App, HttpResponse,
    dev::ServiceResponse,
    http::{Method, header},
    test::{self, TestRequest},
    web,
};

use super::{body, cookies};
use crate::support::{
    logs,
    scripted::{Scripted, Step},
};

fn anonymous() -> SessionSettings {
    SessionSettings::default().when_store_fails(StoreFailure::Anonymous)
}

/// A stored session with `{"k": "v"}`, whose calls are not counted.
async fn saved(scripted: &Scripted) -> SessionKey {
    let session = Session::new(&scripted.store());
    session.insert("k", "v").unwrap();
    session.save().await.unwrap();
    scripted.reset();
    session.session_key().unwrap()
}

fn away(scripted: &Scripted) {
    for operation in ["get", "write", "delete"] {
        scripted.always(operation, Step::Fail(|| Error::store("the database is away")));
    }
}

/// Shows the session.
async fn look(session: Session) -> Result<HttpResponse, Error> {
    let shown = format!(
        "degraded {}, empty {}, key {}, k {:?}, keys {:?}, worked {}",
        session.is_degraded(),
        session.is_empty(),
        session.session_key().is_some(),
        session.get::<String>("k")?,
        session.keys(),
        session.test_cookie_worked(),
    );
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "public, max-age=600")).body(shown))
}

/// Makes a change, and ignores its error.
async fn change(lazy: LazySession, what: web::Path<String>) -> Result<String, Error> {
    let session = lazy.load().await?;
    let error = match &**what {
        "insert" => session.insert("k", "new").err(),
        "insert_json" => session.insert_json("k", "1").err(),
        "update" => session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1).err(),
        "update_and_save" => session.update_and_save("n", |n: Option<u64>| n.unwrap_or(0) + 1).await.err(),
        "get_or_insert" => session.get_or_insert("k", "new".to_owned()).err(),
        "extend" => session.extend([("k", 1)]).err(),
        "remove" => session.remove::<String>("k").err(),
        "discard" => session.discard("k").err(),
        "clear" => session.clear().err(),
        "flush" => session.flush().err(),
        "cycle_key" => session.cycle_key().err(),
        "set_modified" => session.set_modified().err(),
        "set_expiry" => session.set_expiry(Duration::from_secs(60)).err(),
        "default_expiry" => session.set_expiry(Expiry::Default).err(),
        "set_test_cookie" => session.set_test_cookie().err(),
        "delete_test_cookie" => session.delete_test_cookie().err(),
        "save" => session.save().await.err(),
        "lazy_flush" => lazy.flush().err(),
        "lazy_clear" => lazy.clear().err(),
        "lazy_cycle_key" => lazy.cycle_key().err(),
        "lazy_set_modified" => lazy.set_modified().err(),
        other => panic!("{other}"),
    };
    let error = error.expect("a degraded session refuses every change");
    assert!(error.is_store() && !error.is_in_doubt() && error.with_causes().contains("away"), "{error:?}");
    Ok("done, says the handler".to_owned())
}

const CHANGES: [&str; 21] = [
    "insert",
    "insert_json",
    "update",
    "update_and_save",
    "get_or_insert",
    "extend",
    "remove",
    "discard",
    "clear",
    "flush",
    "cycle_key",
    "set_modified",
    "set_expiry",
    "default_expiry",
    "set_test_cookie",
    "delete_test_cookie",
    "save",
    "lazy_flush",
    "lazy_clear",
    "lazy_cycle_key",
    "lazy_set_modified",
];

/// A change that waits for the load.
async fn pending(lazy: LazySession, what: web::Path<String>) -> Result<&'static str, Error> {
    match &**what {
        "flush" => lazy.flush()?,
        "clear" => lazy.clear()?,
        "cycle_key" => lazy.cycle_key()?,
        "set_modified" => lazy.set_modified()?,
        other => panic!("{other}"),
    }
    Ok("done, says the handler")
}

async fn send(store: Store, settings: SessionSettings, request: TestRequest) -> ServiceResponse {
    let app = App::new()
        .wrap(SessionMiddleware::new(store).settings(settings).unwrap())
        .route("/look", web::to(look))
        .route("/change/{what}", web::get().to(change))
        .route("/pending/{what}", web::get().to(pending))
        .route("/untouched", web::get().to(async || "untouched"))
        .route(
            "/fails",
            web::get().to(async |_: Session| HttpResponse::InternalServerError().body("failed")),
        );
    let app = test::init_service(app).await;
    test::call_service(&app, request.to_request()).await
}

fn with(key: &SessionKey, path: &str) -> TestRequest {
    TestRequest::get().uri(path).insert_header(("cookie", format!("sessionid={}", key.as_str())))
}

fn header_of(response: &ServiceResponse, name: header::HeaderName) -> Option<&str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

const DEGRADED: &str = "degraded true, empty true, key false, k None, keys [], worked false";

#[actix_web::test]
async fn a_request_that_reads_is_served_and_keeps_its_cookie() {
    let scripted = Scripted::memory();
    let key = saved(&scripted).await;
    away(&scripted);
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let request = with(&key, "/look").method(method.clone());
        let response = send(scripted.store(), anonymous(), request).await;
        assert_eq!(response.status(), 200, "{method}");
        assert!(cookies(&response).is_empty());
        assert_eq!(header_of(&response, header::VARY), Some("Cookie"));
        assert_eq!(header_of(&response, header::CACHE_CONTROL), Some("no-store"));
        assert_eq!(body(response).await, DEGRADED);
    }
    assert_eq!(scripted.calls(), ["get"; 3]);
    let response = send(scripted.store(), anonymous(), with(&key, "/fails")).await;
    assert_eq!((response.status().as_u16(), cookies(&response).len()), (500, 0));

    scripted.always("get", Step::Pass);
    let response = send(scripted.store(), anonymous(), with(&key, "/look")).await;
    assert_eq!(header_of(&response, header::CACHE_CONTROL), Some("public, max-age=600"));
    let shown = body(response).await;
    assert!(shown.starts_with("degraded false, empty false, key true, k Some(\"v\")"), "{shown}");
}

#[actix_web::test]
async fn a_change_is_answered_by_a_503_even_if_the_handler_ignores_its_error() {
    for what in CHANGES {
        let scripted = Scripted::memory();
        let key = saved(&scripted).await;
        away(&scripted);
        let response = send(scripted.store(), anonymous(), with(&key, &format!("/change/{what}"))).await;
        assert_eq!((response.status().as_u16(), cookies(&response).len()), (503, 0), "{what}");
        assert_eq!(body(response).await, "Service unavailable");
        assert_eq!(scripted.calls(), ["get"], "{what}: nothing is written");
    }
}

#[actix_web::test]
async fn a_change_that_waits_for_the_load_is_answered_by_a_503() {
    for (what, call) in [("flush", "delete"), ("clear", "get"), ("cycle_key", "get"), ("set_modified", "get")]
    {
        let scripted = Scripted::memory();
        let key = saved(&scripted).await;
        away(&scripted);
        let response = send(scripted.store(), anonymous(), with(&key, &format!("/pending/{what}"))).await;
        assert_eq!((response.status().as_u16(), cookies(&response).len()), (503, 0), "{what}");
        assert_eq!(scripted.calls(), [call], "{what}");
    }
}

#[actix_web::test]
async fn other_requests_get_a_503_as_by_default() {
    let scripted = Scripted::memory();
    let key = saved(&scripted).await;
    away(&scripted);
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE] {
        let response = send(scripted.store(), anonymous(), with(&key, "/look").method(method.clone())).await;
        assert_eq!((response.status().as_u16(), cookies(&response).len()), (503, 0), "{method}");
    }
    // A WebSocket would stay anonymous after the outage.
    let socket = with(&key, "/look").insert_header((header::UPGRADE, "websocket"));
    assert_eq!(send(scripted.store(), anonymous(), socket).await.status(), 503);
    let unavailable = SessionSettings::default().when_store_fails(StoreFailure::Unavailable);
    for settings in [SessionSettings::default(), unavailable] {
        let response = send(scripted.store(), settings, with(&key, "/look")).await;
        assert_eq!((response.status().as_u16(), cookies(&response).len()), (503, 0));
    }
    assert_eq!(scripted.calls(), ["get"; 8]);
}

#[actix_web::test]
async fn a_visitor_without_a_session_is_no_degraded_one() {
    let scripted = Scripted::memory();
    away(&scripted);
    let response = send(scripted.store(), anonymous(), TestRequest::get().uri("/look")).await;
    assert_eq!(header_of(&response, header::CACHE_CONTROL), Some("public, max-age=600"));
    assert!(body(response).await.starts_with("degraded false"));
    // No session has such a key: that needs no store.
    let impossible = format!("sessionid={}", "x".repeat(41));
    let impossible = TestRequest::get().uri("/look").insert_header(("cookie", impossible));
    let response = send(scripted.store(), anonymous(), impossible).await;
    assert_eq!((response.status().as_u16(), cookies(&response).len()), (200, 1), "it is deleted");
    assert!(scripted.calls().is_empty());
}

#[actix_web::test]
async fn a_session_that_cannot_be_read_is_no_failure_of_the_store() {
    let scripted = Scripted::memory();
    let key = saved(&scripted).await;
    let misled = Store::new(scripted.clone(), actix_django_session::SecretKey::new("another secret"));
    let response = send(misled, anonymous(), with(&key, "/look")).await;
    assert_eq!(header_of(&response, header::CACHE_CONTROL), Some("public, max-age=600"));
    assert!(body(response).await.starts_with("degraded false"));
    // Nor is an error of another kind an outage.
    scripted.always("get", Step::Fail(|| Error::configuration("a setting is wrong")));
    assert_eq!(send(scripted.store(), anonymous(), with(&key, "/look")).await.status(), 500);
}

#[actix_web::test]
async fn a_session_that_every_request_saves_is_not_saved() {
    let scripted = Scripted::memory();
    let key = saved(&scripted).await;
    away(&scripted);
    for interval in [Duration::ZERO, Duration::from_secs(60)] {
        let settings = anonymous().save_every_request(true).touch_interval(interval);
        for path in ["/look", "/untouched"] {
            let response = send(scripted.store(), settings.clone(), with(&key, path)).await;
            assert_eq!((response.status().as_u16(), cookies(&response).len()), (200, 0), "{path}");
            let depends = path == "/look";
            assert_eq!(header_of(&response, header::CACHE_CONTROL), depends.then_some("no-store"));
            assert_eq!(header_of(&response, header::VARY), depends.then_some("Cookie"));
        }
        let strict = SessionSettings::default().save_every_request(true);
        assert_eq!(send(scripted.store(), strict, with(&key, "/untouched")).await.status(), 503);
    }
    assert_eq!(scripted.count("write"), 0);
}

/// As with a session that is cached, whose database is away.
#[actix_web::test]
async fn a_renewal_that_fails_does_not_replace_the_page() {
    for interval in [Duration::ZERO, Duration::from_nanos(1)] {
        let scripted = Scripted::memory();
        let key = saved(&scripted).await;
        scripted.always("write", Step::Fail(|| Error::store("the database is away")));
        let settings = |settings: SessionSettings| settings.save_every_request(true).touch_interval(interval);
        let response = send(scripted.store(), settings(anonymous()), with(&key, "/look")).await;
        assert_eq!((response.status().as_u16(), cookies(&response).len()), (200, 0));
        assert_eq!(header_of(&response, header::VARY), Some("Cookie"));
        assert!(body(response).await.contains("k Some(\"v\")"));
        assert_eq!(scripted.count("write"), 1);
        let response =
            send(scripted.store(), settings(SessionSettings::default()), with(&key, "/look")).await;
        assert_eq!(response.status(), 503);
        let posted = with(&key, "/look").method(Method::POST);
        assert_eq!(send(scripted.store(), settings(anonymous()), posted).await.status(), 503);
    }
}

#[actix_web::test]
async fn a_client_with_a_token_keeps_it() {
    let scripted = Scripted::memory();
    let key = saved(&scripted).await;
    away(&scripted);
    let settings = anonymous().token_header("X-Session-Token");
    let request = TestRequest::get().uri("/look").insert_header(("x-session-token", key.as_str()));
    let response = send(scripted.store(), settings, request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header_of(&response, header::VARY), Some("x-session-token"));
    assert_eq!(header_of(&response, header::CACHE_CONTROL), Some("no-store"));
    assert!(response.headers().get("x-session-token").is_none());
    assert_eq!(body(response).await, DEGRADED);
}

#[actix_web::test]
async fn a_cached_session_is_read_without_the_database_and_the_other_way_round() {
    let (cache, database) = (Scripted::memory(), Scripted::memory());
    let stores = || {
        let behind = Store::new(database.clone(), Codec::unsigned(JsonSerializer));
        Store::cached(cache.store(), behind).unwrap()
    };
    let session = Session::new(&stores());
    session.insert("k", "v").unwrap();
    session.save().await.unwrap();
    let key = session.session_key().unwrap();

    away(&database);
    let cached = send(stores(), anonymous(), with(&key, "/look")).await;
    assert!(body(cached).await.starts_with("degraded false, empty false, key true, k Some(\"v\")"));
    let unknown = SessionKey::generate();
    let response = send(stores(), anonymous(), with(&unknown, "/look")).await;
    assert!(cookies(&response).is_empty());
    assert_eq!(body(response).await, DEGRADED);

    for operation in ["get", "write", "delete"] {
        database.always(operation, Step::Pass);
    }
    away(&cache);
    let from_database = send(stores(), anonymous(), with(&key, "/look")).await;
    assert!(body(from_database).await.starts_with("degraded false, empty false, key true, k Some(\"v\")"));
}

#[actix_web::test]
async fn the_log_counts_degraded_requests_and_tells_the_recovery() {
    let logs = logs::capture();
    let scripted = Scripted::memory();
    let key = saved(&scripted).await;
    away(&scripted);
    let store = scripted.store();
    for _ in 0..5 {
        send(store.clone(), anonymous(), with(&key, "/look")).await;
    }
    let told = logs.with("a request is served without its session: the database is away");
    assert!(told.len() == 1 && told[0].contains("ERROR"), "{:#?}", logs.lines());
    // A refused change is another event.
    send(store.clone(), anonymous(), with(&key, "/change/insert")).await;
    assert_eq!(logs.with("cannot change a session that could not be loaded").len(), 1);
    scripted.always("get", Step::Pass);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    send(store.clone(), anonymous(), with(&key, "/look")).await;
    let recovery = logs.with("works again, after 7 errors");
    assert!(recovery.len() == 1 && recovery[0].contains("WARN"), "{:#?}", logs.lines());
    drop(store);
    assert_eq!(logs.total("a request is served without its session"), 6);
    assert!(logs.with(key.as_str()).is_empty());
}
