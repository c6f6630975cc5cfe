//! Middleware of the application's own with Django's hooks, as an actix `Transform` and `Service`.
//!
//! Django's class form is a [`Middleware`], wrapped by [`Hooks`]. Its function form is actix's own
//! [`from_fn`](actix_web::middleware::from_fn). [`Optional`] leaves either out of the chain when its
//! constructor answers [`MiddlewareNotUsed`].

mod optional;

use std::{
    cell::RefCell,
    fmt,
    future::{Future, Ready, ready},
    ops::ControlFlow,
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

pub use self::optional::{MiddlewareNotUsed, Optional};
use crate::event_log::EventLog;

/// A middleware with Django's two hooks. Django's class form (`MiddlewareMixin`).
///
/// Wrap it around an App or scope with [`Hooks`]:
///
/// ```
/// use std::time::Instant;
/// use actix_web::{App, Error, HttpResponse, dev::ServiceRequest, http::header};
/// use actix_django_session::hooks::{Flow, Hooks, Middleware};
///
/// struct Timing;
///
/// impl Middleware for Timing {
///     type State = Instant;
///
///     async fn process_request(&self, _: &mut ServiceRequest) -> Result<Flow<Instant>, Error> {
///         Ok(Flow::Continue(Instant::now()))
///     }
///
///     async fn process_response(
///         &self,
///         start: Instant,
///         mut response: HttpResponse,
///     ) -> Result<HttpResponse, Error> {
///         let micros = start.elapsed().as_micros().to_string().parse()?;
///         response.headers_mut().insert(header::HeaderName::from_static("x-micros"), micros);
///         Ok(response)
///     }
/// }
///
/// let app = App::new().wrap(Hooks::new(Timing));
/// ```
pub trait Middleware: 'static {
    /// The value that `process_request` passes on to `process_response`. A Django middleware would set it on
    /// the request.
    type State: 'static;

    /// Runs before the handler and all inner middleware. Django's `process_request`.
    ///
    /// `Continue` goes on to the handler, where Django's hook returns `None`. `Break` skips it, where
    /// Django's hook returns a response.
    fn process_request(
        &self,
        request: &mut ServiceRequest,
    ) -> impl Future<Output = Result<Flow<Self::State>, Error>>;

    /// Runs after them, also for the response of `process_request`. Django's `process_response`.
    ///
    /// An error of the handler arrives as the response that it becomes. An error of inner middleware does
    /// too, and outer middleware still sees an error with the same text and this response, but of another
    /// type.
    fn process_response(
        &self,
        state: Self::State,
        response: HttpResponse,
    ) -> impl Future<Output = Result<HttpResponse, Error>>;

    /// Logs an error of inner middleware, which outer middleware does not see.
    #[doc(hidden)]
    fn log_error(&self, error: &crate::Error) {
        error.log(EventLog::general());
    }
}

/// The result of [`Middleware::process_request`]: `Continue` with the state, or `Break` with the state and a
/// response.
pub type Flow<State> = ControlFlow<(State, HttpResponse), State>;

/// Wraps a [`Middleware`] around an App or scope.
pub struct Hooks<M>(Rc<M>);

impl<M: Middleware> Hooks<M> {
    /// Takes the middleware. Where its constructor may decline, wrap this in an [`Optional`].
    pub fn new(middleware: M) -> Self {
        Self(Rc::new(middleware))
    }
}

impl<M> fmt::Debug for Hooks<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

impl<S, B, M> Transform<S, ServiceRequest> for Hooks<M>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
    M: Middleware,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = HooksService<S, M>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(HooksService { service: Rc::new(service), middleware: self.0.clone() }))
    }
}

/// The running form of [`Hooks`].
pub struct HooksService<S, M> {
    service: Rc<S>,
    middleware: Rc<M>,
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
        let (service, middleware) = (self.service.clone(), self.middleware.clone());
        Box::pin(async move {
            let (state, result) = match middleware.process_request(&mut req).await? {
                Flow::Continue(state) => (state, service.call(req).await),
                Flow::Break((state, response)) => {
                    let response = req.into_response(response);
                    return process_response(&*middleware, state, response).await;
                }
            };
            match result {
                Ok(response) => process_response(&*middleware, state, response.map_into_boxed_body()).await,
                // The request is gone, so that no response can be built: it stays an error, and becomes the
                // response that the hook returned.
                Err(error) => {
                    if let Some(error) = error.as_error::<crate::Error>() {
                        middleware.log_error(error);
                    }
                    let response = error.error_response();
                    Err(HookedError::new(error, middleware.process_response(state, response).await?).into())
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

/// An error of inner middleware with the response that the hook made of it.
struct HookedError {
    error: Error,
    status: StatusCode,
    headers: HeaderMap,
    response: RefCell<Option<HttpResponse>>,
}

impl HookedError {
    fn new(error: Error, response: HttpResponse) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { error, status, headers, response: RefCell::new(Some(response)) }
    }
}

impl ResponseError for HookedError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        // A body cannot be copied: a second call returns the error's own, under the same head.
        self.response.take().unwrap_or_else(|| {
            let mut response = self.error.error_response();
            *response.status_mut() = self.status;
            *response.headers_mut() = self.headers.clone();
            response
        })
    }
}

impl fmt::Display for HookedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl fmt::Debug for HookedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.error, f)
    }
}
