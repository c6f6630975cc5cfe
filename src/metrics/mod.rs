//! Metrics by the facade `metrics`, and spans of `tracing`.
//!
//! Everything that is counted is counted by a function of this module. Without the feature `metrics` these
//! functions do nothing. The guide's page on metrics has the table for operators.
//!
//! A span is closed when its operation ends. It is never entered, since an operation runs on several tasks.

#[cfg(feature = "auth")]
pub(crate) mod auth;
#[cfg(feature = "metrics")]
#[allow(dead_code)] // some features use only a part
mod family;
#[cfg(not(feature = "metrics"))]
#[path = "off.rs"]
#[allow(dead_code)]
mod family;
#[allow(dead_code)]
mod labels;
#[allow(dead_code)]
mod list;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod store;
#[cfg(all(test, feature = "metrics"))]
mod tests;

#[cfg(feature = "metrics")]
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[cfg(feature = "postgres")]
pub(crate) use self::family::GaugeHandle;
use self::labels::PartLabel;
#[cfg(any(feature = "postgres", feature = "auth"))]
pub(crate) use self::labels::Purpose;
#[cfg(feature = "postgres")]
pub(crate) use self::labels::Retried;
pub(crate) use self::{
    family::GaugeGuard,
    labels::{EngineLabel, ErrorKind, LeaseLabel, LookupLabel, Operation, OutcomeLabel},
};

/// Tells the recorder units and descriptions. A recorder may come late, so this is called at several starts.
pub(crate) fn describe() {
    #[cfg(feature = "metrics")]
    family::describe(list::LIST);
}

/// A clock that only runs with the feature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer(#[cfg(feature = "metrics")] Instant);

impl Timer {
    pub(crate) fn start() -> Self {
        Self(
            #[cfg(feature = "metrics")]
            Instant::now(),
        )
    }

    fn seconds(self) -> f64 {
        #[cfg(feature = "metrics")]
        return self.0.elapsed().as_secs_f64();
        #[cfg(not(feature = "metrics"))]
        0.0
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    #[cfg(feature = "metrics")]
    return SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    #[cfg(not(feature = "metrics"))]
    0.0
}

pub(crate) fn error(kind: ErrorKind) {
    list::ERRORS.count(kind);
}

/// An outage begins, and lasts until the result is dropped. `subject` is that of the log.
pub(crate) fn outage(subject: &str) -> GaugeGuard {
    let part = match subject {
        "the session store" => PartLabel::Store,
        "the cache" => PartLabel::Cache,
        "logins" | "the throttle of logins" => PartLabel::Logins,
        _ => PartLabel::Other,
    };
    list::OUTAGES.count(part);
    list::OUTAGE_START.set(part, now());
    list::FAILING.enter(part)
}
