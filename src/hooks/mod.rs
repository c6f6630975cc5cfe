//! Django's middleware for everyone: two hooks as an actix `Transform` and `Service`, in both of Django's
//! forms, and a constructor that may decline.

mod function;

use std::{
    cell::RefCell,
    fmt,
    future::{Future, Ready, ready},
    rc::Rc,
};

use actix_service::{Service, Transform, forward_ready};
use actix_web::{
    Error, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{StatusCode, header::HeaderMap},
};
use futures_util::future::LocalBoxFuture;

pub use self::function::{Function, FunctionService, GetResponse};

/// A middleware with Django's two hooks. Django's class form (`MiddlewareMixin`).
///
/// Wrap it around an App or scope with [`Hooks`]:
///
/// ```
/// use std::time::Instant;
/// use actix_web::{App, Error, HttpResponse, dev::ServiceRequest, http::header};
/// use actix_django_session::hooks::{Hooks, Middleware, Next};
///
/// struct Timing;
///
/// impl Middleware for Timing {
///     type State = Instant;
///
///     async fn process_request(&self, _: &mut ServiceRequest) -> Result<Next<Instant>, Error> {
///         Ok(Next::View(Instant::now()))
///     }
///
///     async fn process_response(&self, start: Instant, mut response: HttpResponse) -> Result<HttpResponse, Error> {
///         let micros = start.elapsed().as_micros().to_string().parse()?;
///         response.headers_mut().insert(header::HeaderName::from_static("x-micros"), micros);
///         Ok(response)
///     }
/// }
///
/// let app = App::new().wrap(Hooks::new(|| Ok(Timing)));
/// ```
pub trait Middleware: 'static {
    /// What `process_request` hands on to `process_response`; what a Django middleware would hang on the
    /// request.
    type State: 'static;

    /// Runs before the handler and everything inside.
    fn process_request(
        &self,
        request: &mut ServiceRequest,
    ) -> impl Future<Output = Result<Next<Self::State>, Error>>;

    /// Runs after it. What the inside answered with an error arrives as the response that it becomes; outer
    /// middleware sees an error still, with the same text and this response, but not of the same type. The
    /// answer of `process_request` passes through here too, as in Django.
    fn process_response(
        &self,
        state: Self::State,
        response: HttpResponse,
    ) -> impl Future<Output = Result<HttpResponse, Error>>;
}

/// How a request goes on after `process_request`.
#[derive(Debug)]
pub enum Next<State> {
    /// To the handler. Django: the hook answers `None`.
    View(State),
    /// Straight to the response. Django: the hook answers a response.
    Respond(State, HttpResponse),
}

/// A constructor's answer that takes its middleware out of the chain. Django's `MiddlewareNotUsed`.
#[derive(Debug, Default)]
pub struct MiddlewareNotUsed(String);

impl MiddlewareNotUsed {
    /// With the reason, which goes to the log at debug level, once a worker.
    pub fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }

    fn log(&self) {
        tracing::debug!("MiddlewareNotUsed: {}", self.0);
    }
}

/// Wraps a [`Middleware`] around an App or scope. The constructor runs once a worker and may answer
/// [`MiddlewareNotUsed`].
pub struct Hooks<F>(F);

impl<F> Hooks<F> {
    /// Takes the middleware's constructor.
    pub fn new<M: Middleware>(constructor: F) -> Self
    where
        F: Fn() -> Result<M, MiddlewareNotUsed>,
    {
        Self(constructor)
    }
}

impl<F> fmt::Debug for Hooks<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

impl<S, B, F, M> Transform<S, ServiceRequest> for Hooks<F>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
    F: Fn() -> Result<M, MiddlewareNotUsed>,
    M: Middleware,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = HooksService<S, M>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let middleware = (self.0)().inspect_err(MiddlewareNotUsed::log).ok();
        ready(Ok(HooksService { service: Rc::new(service), middleware: middleware.map(Rc::new) }))
    }
}

/// The running form of [`Hooks`].
pub struct HooksService<S, M> {
    service: Rc<S>,
    middleware: Option<Rc<M>>,
}

impl<S, M> fmt::Debug for HooksService<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HooksService")
    }
}

impl<S, B, M> Service<ServiceRequest> for HooksService<S, M>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
    M: Middleware,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(service);

    fn call(&self, mut req: ServiceRequest) -> Self::Future {
        let service = self.service.clone();
        let Some(middleware) = self.middleware.clone() else {
            let answer = service.call(req);
            return Box::pin(async { Ok(answer.await?.map_into_boxed_body()) });
        };
        Box::pin(async move {
            let (state, answer) = match middleware.process_request(&mut req).await? {
                Next::View(state) => (state, service.call(req).await),
                Next::Respond(state, response) => {
                    let response = req.into_response(response);
                    return process_response(&*middleware, state, response).await;
                }
            };
            match answer {
                Ok(response) => process_response(&*middleware, state, response.map_into_boxed_body()).await,
                // There is no request any more to build a response with: it stays an error, and
                // becomes the response that the hook answered.
                Err(error) => {
                    let response = error.error_response();
                    Err(Answered::new(error, middleware.process_response(state, response).await?).into())
                }
            }
        })
    }
}

async fn process_response<M: Middleware>(
    middleware: &M,
    state: M::State,
    response: ServiceResponse,
) -> Result<ServiceResponse, Error> {
    let (request, response) = response.into_parts();
    Ok(match middleware.process_response(state, response).await {
        Ok(response) => ServiceResponse::new(request, response),
        Err(error) => ServiceResponse::from_err(error, request),
    })
}

/// An error of the inner service with the response that the hook made of it.
struct Answered {
    error: Error,
    status: StatusCode,
    headers: HeaderMap,
    response: RefCell<Option<HttpResponse>>,
}

impl Answered {
    fn new(error: Error, response: HttpResponse) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { error, status, headers, response: RefCell::new(Some(response)) }
    }
}

impl ResponseError for Answered {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        // A body cannot be copied: whoever asks again gets the error's own, under the same head.
        self.response.take().unwrap_or_else(|| {
            let mut response = self.error.error_response();
            *response.status_mut() = self.status;
            *response.headers_mut() = self.headers.clone();
            response
        })
    }
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}
