//! All metrics: names, labels, units and descriptions.

use super::{
    family::{Counter, Gauge, Histogram},
    labels::{
        AttemptLabel, EngineLabel, ErrorKind, Granted, LeaseLabel, LookupLabel, Operation, OutcomeLabel,
        PartLabel, Purpose, Retried, Swept,
    },
};

macro_rules! metrics {
    ($($type:ident $name:ident: $labels:ty = $text:literal, $unit:ident, $description:literal;)+) => {
        $(
            pub(super) static $name: $type<$labels> = $type::new(concat!("actix_django_session_", $text));
        )+

        #[cfg(feature = "metrics")]
        pub(super) static LIST: &[super::family::Info] = &[$(super::family::Info {
            name: concat!("actix_django_session_", $text),
            kind: super::family::MetricKind::$type,
            unit: metrics::Unit::$unit,
            description: $description,
            #[cfg(test)]
            labels: <$labels as super::labels::Labels>::ALL,
        }),+];
    };
}

metrics! {
    Counter OPERATIONS: (EngineLabel, Operation, OutcomeLabel) = "operations_total", Count,
        "Operations of a store: loads, and attempts to save.";
    Histogram OPERATION_TIME: (EngineLabel, Operation) = "operation_seconds", Seconds,
        "Time of an operation of a store, with all its waiting.";
    Counter ERRORS: ErrorKind = "errors_total", Count,
        "Errors of requests and of background work.";
    Gauge FAILING: PartLabel = "failing", Count,
        "Stores, caches and tables of logins that fail at present.";
    Counter OUTAGES: PartLabel = "outages_total", Count,
        "Outages that have begun.";
    Gauge OUTAGE_START: PartLabel = "outage_start_timestamp_seconds", Seconds,
        "Start of the last outage, in seconds since 1970.";
    Counter DEGRADED: () = "degraded_requests_total", Count,
        "Requests whose session was degraded: one that needs it gets a 503 all the same.";

    Gauge QUEUE: Purpose = "queue_requests", Count,
        "Requests for PostgreSQL that wait or are in flight.";
    Histogram QUEUE_TIME: Purpose = "queue_seconds", Seconds,
        "Time from a request's arrival to its batch.";
    Histogram BATCH: Purpose = "batch_requests", Count,
        "Requests in a batch.";
    Counter REFUSED: Purpose = "refused_requests_total", Count,
        "Requests refused because too many wait.";
    Histogram DATABASE_TIME: Purpose = "database_seconds", Seconds,
        "Time of a statement in PostgreSQL, with the wait for a connection and with retries.";
    Counter RETRIES: Retried = "database_retries_total", Count,
        "Statements that were sent again.";
    Counter LOCKED: Purpose = "locked_rows_total", Count,
        "Requests that found their row locked by another transaction.";
    Gauge SOLO: Purpose = "solo_sessions", Count,
        "Sessions whose requests run outside of batches, mostly since their row is locked.";
    Gauge CONNECTIONS: () = "connections", Count,
        "Open connections to PostgreSQL, without those of an application's own pool.";
    Gauge CONNECTION_WAITERS: () = "connection_waiters", Count,
        "Statements that wait for a connection.";
    Counter CONNECTION_ERRORS: () = "connection_errors_total", Count,
        "Connections to PostgreSQL that could not be opened.";

    Counter LOOKUPS: LookupLabel = "cache_lookups_total", Count,
        "Loads from the cache in front of a database.";
    Counter LEASES: (LeaseLabel, Granted) = "cache_leases_total", Count,
        "Leases in the cache: to fill it, and to change the row.";
    Counter FILLS: Granted = "cache_fills_total", Count,
        "Sessions put into the cache by a load or by a new session.";
    Histogram CACHE_TIME: () = "cache_seconds", Seconds,
        "Time of a call of the cache in front of a database.";
    Counter CACHE_ERRORS: () = "cache_errors_total", Count,
        "Calls of the cache that failed or had no reply in time.";
    Gauge OUTDATED: () = "cache_outdated_sessions", Count,
        "Sessions that are to be removed from the cache once it is back.";

    Counter CLEARED: EngineLabel = "cleared_sessions_total", Count,
        "Expired sessions that were deleted.";
    Counter SWEEPS: Swept = "sweeps_total", Count,
        "Rounds of the sweeper.";
    Histogram SWEEP_TIME: () = "sweep_seconds", Seconds,
        "Time of a round of the sweeper.";
    Gauge LAST_SWEEP: () = "last_sweep_timestamp_seconds", Seconds,
        "End of the last round of the sweeper without an error, in seconds since 1970.";

    Counter LOGIN_ATTEMPTS: AttemptLabel = "login_attempts_total", Count,
        "Attempts to log in.";
    Counter LOGINS: () = "logins_total", Count,
        "Users who were logged in.";
    Counter LOGOUTS: () = "logouts_total", Count,
        "Calls of logout.";
    Histogram HASH_TIME: () = "password_hash_seconds", Seconds,
        "Time to hash a password, which each check does, without the wait for its turn.";
    Gauge HASHES: () = "password_hashes", Count,
        "Hashes of passwords that wait or run.";
    Counter HASHES_REFUSED: () = "password_hashes_refused_total", Count,
        "Hashes of passwords refused because too many wait.";
}
