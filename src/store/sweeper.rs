//! A task that clears what has expired.

use std::time::Duration;

use rand::RngExt as _;

use super::AnyStore;

/// Sessions cleared at once. Between two of these others get their turn.
const BATCH: u32 = 1000;

/// Clears expired sessions again and again, for as long as it is held: `manage.py clearsessions` without a cron job.
///
/// It may run in every instance of an application at once: each clears what the others have not. An error goes to the log and
/// the next time comes all the same.
///
/// ```
/// # #[actix_web::main] async fn main() {
/// use std::time::Duration;
/// use actix_django_session::store::{MemoryStore, Sweeper};
///
/// let store = MemoryStore::new();
/// let _sweeper = Sweeper::start(store, Duration::from_secs(3600)); // until main ends
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it stops when it is dropped"]
pub struct Sweeper(tokio::task::JoinHandle<()>);

impl Sweeper {
    /// Sweeps about every `interval`, for the first time at a random moment within it, so that instances started together
    /// do not sweep together.
    ///
    /// # Panics
    ///
    /// If there is no tokio (or actix) runtime.
    pub fn start(store: impl Into<AnyStore>, interval: Duration) -> Self {
        let store = store.into();
        let interval = interval.max(Duration::from_millis(1));
        Self(tokio::spawn(async move {
            let mut pause = interval.mul_f64(rand::rng().random_range(0.0..1.0));
            loop {
                tokio::time::sleep(pause).await;
                sweep(&store).await;
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

async fn sweep(store: &AnyStore) {
    let (mut total, mut after) = (0, None);
    loop {
        match store.clear_some(BATCH, after).await {
            Ok(cleared) => {
                total += cleared.sessions;
                after = cleared.until;
                if cleared.sessions < u64::from(BATCH) {
                    tracing::debug!("cleared {total} expired sessions");
                    return;
                }
            }
            Err(error) => {
                error.log();
                return;
            }
        }
    }
}
