//! Django's function form of a middleware: a factory that takes `get_response`.

use std::{
    fmt,
    future::{Future, Ready, ready},
    marker::PhantomData,
    rc::Rc,
};

use actix_service::{Service, Transform, forward_ready};
use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
};
use futures_util::future::LocalBoxFuture;

use super::MiddlewareNotUsed;

/// What a middleware in function form calls to go on. Django's `get_response`.
#[derive(Clone)]
pub struct GetResponse(Rc<dyn Fn(ServiceRequest) -> LocalBoxFuture<'static, Result<ServiceResponse, Error>>>);

impl GetResponse {
    /// Runs the handler and everything inside.
    pub async fn call(&self, request: ServiceRequest) -> Result<ServiceResponse, Error> {
        (self.0)(request).await
    }
}

impl fmt::Debug for GetResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GetResponse")
    }
}

/// Wraps a middleware in Django's function form: a factory that takes [`GetResponse`] and answers a function
/// from request to response, or [`MiddlewareNotUsed`].
///
/// ```
/// use actix_web::{App, dev::ServiceRequest};
/// use actix_django_session::hooks::{Function, GetResponse};
///
/// let app = App::new().wrap(Function::new(|get_response: GetResponse| {
///     Ok(move |request: ServiceRequest| {
///         let get_response = get_response.clone();
///         async move {
///             // before the handler
///             let response = get_response.call(request).await?;
///             // after it
///             Ok(response)
///         }
///     })
/// }));
/// ```
pub struct Function<F, M>(F, PhantomData<fn() -> M>);

impl<F, M, R> Function<F, M>
where
    F: Fn(GetResponse) -> Result<M, MiddlewareNotUsed>,
    M: Fn(ServiceRequest) -> R + 'static,
    R: Future<Output = Result<ServiceResponse, Error>> + 'static,
{
    /// Takes the factory, which runs once a worker.
    pub fn new(factory: F) -> Self {
        Self(factory, PhantomData)
    }
}

impl<F, M> fmt::Debug for Function<F, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Function")
    }
}

impl<S, B, F, M, R> Transform<S, ServiceRequest> for Function<F, M>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
    F: Fn(GetResponse) -> Result<M, MiddlewareNotUsed>,
    M: Fn(ServiceRequest) -> R + 'static,
    R: Future<Output = Result<ServiceResponse, Error>> + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = FunctionService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let service = Rc::new(service);
        let inner = service.clone();
        let get_response = GetResponse(Rc::new(move |request| {
            let answer = inner.call(request);
            Box::pin(async { Ok(answer.await?.map_into_boxed_body()) })
        }));
        let run = match (self.0)(get_response.clone()) {
            Ok(function) => GetResponse(Rc::new(move |request| Box::pin(function(request)))),
            Err(not_used) => {
                not_used.log();
                get_response
            }
        };
        ready(Ok(FunctionService { service, run }))
    }
}

/// The running form of [`Function`].
pub struct FunctionService<S> {
    /// Asked whether it is ready; called through `run`.
    service: Rc<S>,
    run: GetResponse,
}

impl<S> fmt::Debug for FunctionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FunctionService")
    }
}

impl<S, B> Service<ServiceRequest> for FunctionService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        (self.run.0)(request)
    }
}
