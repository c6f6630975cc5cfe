//! The stop: not ready first, then no new connections, then the end of the requests in flight.

use std::{future::Future, io, time::Duration};

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServerHandle, ServiceRequest, ServiceResponse},
    http::ConnectionType,
    middleware::Next,
    rt::{
        signal::unix::{SignalKind, signal},
        time::sleep,
    },
    web,
};

use super::health::Health;

/// Waits for SIGTERM or SIGINT, and stops the server. A second signal stops it at once.
pub(crate) fn on_signal(
    health: web::Data<Health>,
    server: ServerHandle,
    drain: Duration,
) -> io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        next().await;
        // The load balancer learns it by its next probe. Until then, requests are served.
        health.stop();
        tracing::info!("stopping: not ready from now on, no new connections after {drain:?}");
        tokio::select! {
            () = sleep(drain) => {}
            () = next() => return server.stop(false).await,
        }
        tokio::select! {
            () = server.stop(true) => {}
            () = next() => server.stop(false).await,
        }
    })
}

/// Has connections that are kept alive end with their next response while the process stops. Otherwise a
/// client could send a request just when the server closes the connection.
pub(crate) async fn close_connections<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let health = request.app_data::<web::Data<Health>>().cloned();
    let mut response = next.call(request).await?;
    if health.is_some_and(|health| health.is_stopping()) {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}
