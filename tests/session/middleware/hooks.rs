//! Django-style middleware in class form and in function form.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, Mutex},
};

use actix_django_session::hooks::{Flow, Hooks, Middleware, MiddlewareNotUsed, Optional};
use actix_web::{
    App, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    error::ErrorImATeapot,
    http::header::{HeaderName, HeaderValue},
    middleware::{Next, from_fn},
    test::{self, TestRequest},
    web,
};

use super::body;
use crate::support::logs;

/// A Django middleware in class form: answers at once for one path, and marks every response.
struct Marking(Rc<Cell<u32>>);

impl Middleware for Marking {
    type State = u32;

    async fn process_request(&self, request: &mut ServiceRequest) -> Result<Flow<u32>, actix_web::Error> {
        self.0.set(self.0.get() + 1);
        Ok(match request.path() {
            "/closed" => Flow::Break((self.0.get(), HttpResponse::ServiceUnavailable().body("closed"))),
            "/broken" => return Err(ErrorImATeapot("refused")),
            _ => Flow::Continue(self.0.get()),
        })
    }

    async fn process_response(
        &self,
        state: u32,
        mut response: HttpResponse,
    ) -> Result<HttpResponse, actix_web::Error> {
        response.headers_mut().insert(HeaderName::from_static("x-request"), state.into());
        Ok(response)
    }
}

#[actix_web::test]
async fn hooks_run_before_and_after_and_may_answer_at_once() {
    let app = App::new()
        .wrap(Hooks::new(Marking(Rc::default())))
        .route("/", web::get().to(async || "view"))
        .route("/fails", web::get().to(async || Err::<&str, _>(ErrorImATeapot("view"))));
    let app = test::init_service(app).await;
    for (path, status, text) in [("/", 200, "view"), ("/closed", 503, "closed"), ("/fails", 418, "view")] {
        let response = test::call_service(&app, TestRequest::get().uri(path).to_request()).await;
        assert_eq!(response.status(), status);
        assert!(response.headers().contains_key("x-request"), "{path} passes through process_response");
        assert_eq!(body(response).await, text);
    }
    let refused =
        test::try_call_service(&app, TestRequest::get().uri("/broken").to_request()).await.unwrap_err();
    assert_eq!(refused.error_response().status(), 418);
}

#[actix_web::test]
async fn function_form_wraps_the_handler() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    let app = App::new()
        .wrap(from_fn(move |request: ServiceRequest, get_response: Next<_>| {
            let seen = seen.clone();
            async move {
                seen.lock().unwrap().push("before");
                let response = get_response.call(request).await?;
                seen.lock().unwrap().push("after");
                Ok(response)
            }
        }))
        .route("/", web::get().to(async || "view"));
    let app = test::init_service(app).await;
    assert_eq!(body(test::call_service(&app, TestRequest::get().uri("/").to_request()).await).await, "view");
    assert_eq!(*order.lock().unwrap(), ["before", "after"]);
}

/// In function form.
async fn marking<B: MessageBody>(
    request: ServiceRequest,
    get_response: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let mut response = get_response.call(request).await?;
    response.headers_mut().insert(HeaderName::from_static("x-function"), HeaderValue::from_static("1"));
    Ok(response)
}

#[actix_web::test]
async fn a_constructor_may_take_itself_out_of_the_chain() {
    for (class, function) in [(false, false), (true, false), (false, true), (true, true)] {
        let logs = logs::capture();
        let app = App::new()
            .wrap(Optional::new(move || match class {
                true => Ok(Hooks::new(Marking(Rc::default()))),
                false => Err(MiddlewareNotUsed::because("no marks wanted")),
            }))
            .wrap(Optional::new(move || match function {
                true => Ok(from_fn(marking)),
                false => Err(MiddlewareNotUsed::because("no function wanted")),
            }))
            .route("/", web::get().to(async || "view"));
        let app = test::init_service(app).await;
        let response = test::call_service(&app, TestRequest::get().uri("/").to_request()).await;
        assert_eq!(response.headers().contains_key("x-request"), class);
        assert_eq!(response.headers().contains_key("x-function"), function);
        assert_eq!(body(response).await, "view");
        assert_eq!(logs.with("MiddlewareNotUsed: no marks").len(), usize::from(!class));
        assert_eq!(logs.with("MiddlewareNotUsed: no function").len(), usize::from(!function));
    }
}
