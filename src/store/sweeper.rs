//! A task that clears expired sessions.

use std::time::Duration;

use rand::RngExt as _;

use super::Store;
use crate::metrics;

/// Clears expired sessions periodically until it is dropped: `manage.py clearsessions` without a cron job.
///
/// It may run in every instance of an application at once: each clears what the others have not. An error is
/// logged, and the next round comes all the same.
///
/// ```
/// # #[actix_web::main] async fn main() {
/// use std::time::Duration;
/// use actix_django_session::{SecretKey, Store, Sweeper, backend::Memory};
///
/// let store = Store::new(Memory::new(), SecretKey::new("a secret"));
/// let _sweeper = Sweeper::start(&store, Duration::from_secs(3600)); // until main returns
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it stops when it is dropped"]
pub struct Sweeper(tokio::task::JoinHandle<()>);

impl Sweeper {
    /// Sweeps about every `interval`, first at a random moment within it, so that instances that start
    /// together do not sweep together.
    ///
    /// # Panics
    ///
    /// If there is no tokio (or actix) runtime.
    pub fn start(store: &Store, interval: Duration) -> Self {
        let (store, interval) = (store.clone(), interval.max(Duration::from_millis(1)));
        Self(tokio::spawn(async move {
            let mut pause = interval.mul_f64(rand::rng().random_range(0.0..1.0));
            loop {
                tokio::time::sleep(pause).await;
                let began = metrics::Timer::start();
                let result = store.clear_expired().await;
                metrics::store::swept(began, &result);
                match result {
                    Ok(cleared) => tracing::debug!("cleared {cleared} expired sessions"),
                    Err(error) => error.log(store.log()),
                }
                pause = interval.mul_f64(rand::rng().random_range(0.9..1.1));
            }
        }))
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}
