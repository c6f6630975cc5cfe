//! A middleware that may decline. Django's `MiddlewareNotUsed`.

use std::fmt;

use actix_service::{Service, ServiceExt as _, Transform, boxed};
use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
};
use futures_util::future::LocalBoxFuture;

/// The error of a constructor that leaves its middleware out of the chain. Django's `MiddlewareNotUsed`. See
/// [`Optional`].
#[derive(Debug, Default)]
pub struct MiddlewareNotUsed(String);

impl MiddlewareNotUsed {
    /// With the reason, which is logged at debug level, once a worker.
    pub fn because(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Wraps a middleware whose constructor may decline with [`MiddlewareNotUsed`]: Django's class form as
/// [`Hooks`](super::Hooks), its function form as actix's [`from_fn`](actix_web::middleware::from_fn), or any
/// other.
///
/// The constructor runs once a worker.
///
/// ```
/// use actix_web::{App, Error, body::MessageBody};
/// use actix_web::{dev::{ServiceRequest, ServiceResponse}, middleware::{Next, from_fn}};
/// use actix_django_session::hooks::{MiddlewareNotUsed, Optional};
///
/// async fn simple_middleware<B: MessageBody>(
///     request: ServiceRequest,
///     get_response: Next<B>,
/// ) -> Result<ServiceResponse<B>, Error> {
///     // before the handler
///     let response = get_response.call(request).await?;
///     // after it
///     Ok(response)
/// }
///
/// let debug = false;
/// let app = App::new().wrap(Optional::new(move || match debug {
///     true => Ok(from_fn(simple_middleware)),
///     false => Err(MiddlewareNotUsed::because("not in debug mode")),
/// }));
/// ```
pub struct Optional<F>(F);

impl<F> Optional<F> {
    /// Takes the constructor of the middleware.
    pub fn new<T>(constructor: F) -> Self
    where
        F: Fn() -> Result<T, MiddlewareNotUsed>,
    {
        Self(constructor)
    }
}

impl<F> fmt::Debug for Optional<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Optional")
    }
}

impl<S, B, F, T, R> Transform<S, ServiceRequest> for Optional<F>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
    F: Fn() -> Result<T, MiddlewareNotUsed>,
    T: Transform<S, ServiceRequest, Response = ServiceResponse<R>, Error = Error, InitError = ()>,
    T::Transform: 'static,
    T::Future: 'static,
    R: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = boxed::BoxService<ServiceRequest, ServiceResponse, Error>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        match (self.0)() {
            Ok(middleware) => {
                let made = middleware.new_transform(service);
                Box::pin(async { Ok(boxed::service(made.await?.map(ServiceResponse::map_into_boxed_body))) })
            }
            Err(not_used) => {
                tracing::debug!("MiddlewareNotUsed: {}", not_used.0);
                Box::pin(async { Ok(boxed::service(service.map(ServiceResponse::map_into_boxed_body))) })
            }
        }
    }
}
