//! Whether the process works, and whether requests may be sent to it.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use actix_django_session::{Error, SessionKey, Store, StoreFailure};
use actix_web::{HttpResponse, Scope, rt::time::timeout, web};

/// Shorter than the timeout of a load balancer, so that a slow store is reported as not ready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) struct Health {
    store: Store,
    when_store_fails: StoreFailure,
    /// The store has worked once.
    was_ready: AtomicBool,
    is_stopping: AtomicBool,
}

impl Health {
    pub(crate) fn new(store: Store, when_store_fails: StoreFailure) -> Self {
        Self {
            store,
            when_store_fails,
            was_ready: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// From here on no request should be sent here.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Relaxed)
    }

    /// Probes the store, which costs one look-up of a key that does not exist. Before the first success, also
    /// whether the table is there and may be used.
    async fn probe_store(&self) -> Result<(), Error> {
        if self.was_ready.load(Relaxed) {
            return self.store.exists(&SessionKey::generate()).await.map(drop);
        }
        self.store.check().await?;
        self.was_ready.store(true, Relaxed);
        tracing::info!("the session store is ready");
        Ok(())
    }

    async fn is_ready(&self) -> Result<(), &'static str> {
        if self.is_stopping() {
            return Err("stopping\n");
        }
        // Pages without sessions are better than none: if all processes said no, visitors would get nothing.
        if self.when_store_fails == StoreFailure::Anonymous && self.was_ready.load(Relaxed) {
            return Ok(());
        }
        match timeout(PROBE_TIMEOUT, self.probe_store()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!("not ready: {}", error.with_causes());
                Err("the session store is away\n")
            }
            Err(_) => Err("the session store is slow\n"),
        }
    }
}

/// Outside the session middleware: a probe has no session.
pub(crate) fn routes() -> Scope {
    web::scope("/health").route("/live", web::get().to(live)).route("/ready", web::get().to(ready))
}

/// Looks at nothing else: no restart brings a database back.
async fn live() -> &'static str {
    "alive\n"
}

async fn ready(health: web::Data<Health>) -> HttpResponse {
    match health.is_ready().await {
        Ok(()) => HttpResponse::Ok().body("ready\n"),
        Err(why) => HttpResponse::ServiceUnavailable().body(why),
    }
}
