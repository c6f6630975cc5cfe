//! Logs as JSON lines, and metrics for Prometheus.

use std::{
    error::Error as StdError,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use actix_web::{
    App, Error, HttpServer,
    body::MessageBody,
    dev::{Server, ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::filter::LevelFilter;

const SECONDS: &[f64] = &[0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
const REQUESTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// One JSON object a line, to standard output. At `debug`, `tokio_postgres` logs session keys: use that level
/// for trials only.
pub(crate) fn log_json(level: LevelFilter) {
    tracing_subscriber::fmt().json().flatten_event(true).with_max_level(level).init();
}

/// A line for each request. The query is left out, since it may be personal.
pub(crate) async fn log_request<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let (method, path, start) = (request.method().clone(), request.path().to_owned(), Instant::now());
    let response = next.call(request).await;
    let status = match &response {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let seconds = start.elapsed().as_secs_f64();
    // Probes come all the time.
    if path.starts_with("/health/") {
        tracing::debug!(%method, path, status = status.as_u16(), seconds, "request");
    } else {
        tracing::info!(%method, path, status = status.as_u16(), seconds, "request");
    }
    response
}

/// Counts from here on.
pub(crate) fn install_recorder() -> Result<PrometheusHandle, Box<dyn StdError>> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_batch_requests".to_owned()), REQUESTS)?
        .install_recorder()?;
    let upkeep = handle.clone();
    thread::spawn(move || {
        loop {
            thread::sleep(Duration::from_secs(5));
            upkeep.run_upkeep(); // the values of histograms wait in memory for it
        }
    });
    Ok(handle)
}

/// On a port of its own, which visitors cannot reach.
pub(crate) fn serve_metrics(
    handle: PrometheusHandle,
    address: SocketAddr,
) -> Result<Server, Box<dyn StdError>> {
    let handle = web::Data::new(handle);
    let app = move || App::new().app_data(handle.clone()).route("/metrics", web::get().to(render));
    let server = HttpServer::new(app).workers(1).disable_signals().bind(address);
    let server = server.map_err(|error| format!("cannot listen on {address} (METRICS_ADDRESS): {error}"))?;
    Ok(server.run())
}

async fn render(handle: web::Data<PrometheusHandle>) -> String {
    handle.render()
}
