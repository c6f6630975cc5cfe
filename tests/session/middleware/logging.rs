//! Errors are logged once, by the middleware only, and counted once where they repeat.

use actix_django_session::{Error, SessionMiddleware};
use actix_web::{
    App, HttpResponse, ResponseError as _,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::{Next, from_fn},
    test::{self, TestRequest},
    web,
};

use super::named;
use crate::support::{logs, stores::memory};

const TEXT: &str = "the disk of this test is full";

async fn fails() -> Result<HttpResponse, Error> {
    Err(Error::store(TEXT))
}

/// An error that goes through the services, not a handler's, which is a response by then.
async fn fails_inside(_: ServiceRequest, _: Next<BoxBody>) -> Result<ServiceResponse, actix_web::Error> {
    Err(Error::store(TEXT).into())
}

#[actix_web::test]
async fn an_error_that_becomes_a_response_logs_nothing_by_itself() {
    let logs = logs::capture();
    assert_eq!(Error::store(TEXT).error_response().status(), 503);
    let app = test::init_service(App::new().route("/", web::get().to(fails))).await;
    let response = test::call_service(&app, TestRequest::get().uri("/").to_request()).await;
    assert_eq!(response.status(), 503);
    assert!(logs.with(TEXT).is_empty(), "{:?}", logs.lines());
}

#[actix_web::test]
async fn the_middleware_logs_an_error_of_a_handler_once() {
    let logs = logs::capture();
    let app = App::new().wrap(SessionMiddleware::new(memory())).route("/", web::get().to(fails));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, TestRequest::get().uri("/").to_request()).await;
    assert_eq!(response.status(), 503);
    assert_eq!(logs.with(TEXT).len(), 1, "{:?}", logs.lines());
}

#[actix_web::test]
async fn nested_middlewares_log_an_error_once() {
    let logs = logs::capture();
    let store = memory();
    let app = App::new()
        .wrap(named(&store, "inner"))
        .wrap(named(&store, "middle"))
        .wrap(named(&store, "outer"))
        .wrap(named(&store, "outer"))
        .route("/", web::get().to(fails));
    let app = test::init_service(app).await;
    for _ in 0..2 {
        let response = test::call_service(&app, TestRequest::get().uri("/").to_request()).await;
        assert_eq!(response.status(), 503);
        assert_eq!(logs.with(TEXT).len(), 1, "{:?}", logs.lines());
    }
    drop((app, store));
    assert_eq!(logs.total(TEXT), 2, "once for each request: {:?}", logs.lines());
}

#[actix_web::test]
async fn nested_middlewares_log_an_error_of_inner_middleware_once() {
    let logs = logs::capture();
    let store = memory();
    let app = App::new()
        .wrap(from_fn(fails_inside))
        .wrap(named(&store, "inner"))
        .wrap(named(&store, "outer"))
        .route("/", web::get().to(fails));
    let app = test::init_service(app).await;
    let error = test::try_call_service(&app, TestRequest::get().uri("/").to_request()).await.unwrap_err();
    assert_eq!(error.error_response().status(), 503);
    assert_eq!(logs.with(TEXT).len(), 1, "{:?}", logs.lines());
}
