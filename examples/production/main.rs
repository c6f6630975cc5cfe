//! A service to begin with: health and readiness, a graceful stop, metrics, structured logs, a sweeper.
//!
//! ```text
//! export DATABASE_URL=postgres://app@db.example/site SECRET_KEY=…
//! django-session createtable "$DATABASE_URL"            # unless Django's migrations have made the table
//! cargo run --example production --features metrics
//! ```
//!
//! | path | answers |
//! |---|---|
//! | `GET /visits` | how often this visitor has counted |
//! | `POST /visits` | one more |
//! | `GET /health/live` | 200 as long as the process works: restart it otherwise |
//! | `GET /health/ready` | 200 while requests may be sent here, else 503 |
//! | `GET /metrics` | on `METRICS_ADDRESS`: for Prometheus |
//!
//! The settings are environment variables, in `settings.rs`.

mod health;
mod settings;
mod stop;
mod telemetry;

use std::{error::Error as StdError, process::ExitCode, time::Duration};

use actix_django_session::{Error, Session, SessionMiddleware, SessionSettings, Store, Sweeper};
use actix_web::{
    App, HttpServer,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    error::ErrorGatewayTimeout,
    middleware::{Next, from_fn},
    rt, web,
};

use self::{health::Health, settings::Settings};

/// How long a handler may take. Its session is saved after it, within the store's own deadline.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long requests may take that are in flight when the service stops: more than handler and save together.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);

#[actix_web::main]
async fn main() -> ExitCode {
    let settings = match Settings::from_env() {
        Ok(settings) => settings,
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("production: {problem}"));
            return ExitCode::FAILURE;
        }
    };
    telemetry::log_json(settings.log_level);
    match serve(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("cannot serve: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: Settings) -> Result<(), Box<dyn StdError>> {
    // Before the store, so that it is counted from its first connection on.
    let recorder = telemetry::install_recorder()?;

    // Connects at the first use: the service may start before its database.
    let store = Store::connect_lazy(&settings.database_url, settings.secret)?;
    let sessions = SessionSettings::default()
        .cookie_name(settings.cookie_name)
        .cookie_secure(settings.cookie_secure)
        .when_store_fails(settings.when_store_fails);
    let session = SessionMiddleware::new(store.clone()).settings(sessions)?;
    // Each process may have one: what another has cleared already costs nothing.
    let sweeper = Sweeper::start(&store, Duration::from_secs(3600));

    let health = web::Data::new(Health::new(store, settings.when_store_fails));
    let of_workers = health.clone();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(of_workers.clone())
            .service(health::routes())
            .service(
                web::scope("")
                    .route("/visits", web::get().to(visits))
                    .route("/visits", web::post().to(one_more))
                    // Inside the session: a handler that is too late is dropped, a save is not.
                    .wrap(from_fn(limit_time))
                    .wrap(session.clone()),
            )
            .wrap(from_fn(stop::close_connections))
            .wrap(from_fn(telemetry::log_request))
    })
    .client_request_timeout(Duration::from_secs(5)) // for the head of a request
    .keep_alive(Duration::from_secs(10)) // shorter than SHUTDOWN_TIMEOUT
    .shutdown_timeout(SHUTDOWN_TIMEOUT.as_secs())
    .disable_signals() // stop.rs handles them
    .bind(settings.address)
    .map_err(|error| format!("cannot listen on {} (ADDRESS): {error}", settings.address))?
    .run();
    let metrics = telemetry::serve_metrics(recorder, settings.metrics_address)?;

    rt::spawn(stop::on_signal(health, server.handle(), settings.drain)?);
    let of_metrics = metrics.handle();
    rt::spawn(metrics);
    tracing::info!(address = %settings.address, metrics = %settings.metrics_address, "started");
    server.await?;

    // After a graceful stop every response is out, and every save is done.
    drop(sweeper);
    of_metrics.stop(false).await;
    tracing::info!("stopped");
    Ok(())
}

async fn visits(session: Session) -> Result<String, Error> {
    if session.is_degraded() {
        return Ok("not known at the moment\n".to_owned()); // only with WHEN_STORE_FAILS=anonymous
    }
    let visits: Option<u64> = session.get("visits")?;
    Ok(format!("{}\n", visits.unwrap_or(0)))
}

/// The session's cookie is SameSite=Lax, so that no form of another site reaches this visitor's session.
/// Pages with forms need the middleware of `csrf` all the same.
async fn one_more(session: Session) -> Result<String, Error> {
    let visits = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)?;
    Ok(format!("{visits}\n"))
}

async fn limit_time<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    match rt::time::timeout(HANDLER_TIMEOUT, next.call(request)).await {
        Ok(response) => response,
        Err(_) => Err(ErrorGatewayTimeout("The request took too long.")),
    }
}
