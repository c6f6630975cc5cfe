//! Sweeps and what they clear.

use std::time::{Duration, SystemTime};

use actix_django_session::{Expiry, Session, Store, Sweeper};

use crate::{
    recorder::Recorder,
    support::{postgres::Database, proc::PATIENCE, stores::by_url},
};

async fn expired(store: &Store) {
    let session = Session::new(store);
    session.set_expiry(Expiry::At(SystemTime::now() - Duration::from_secs(60))).unwrap();
    session.save().await.unwrap();
}

#[tokio::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn cleared_sessions_and_rounds_are_counted() {
    let mut recorder = Recorder::new();
    let database = Database::fresh();
    let store = by_url(database.url()).await;
    for _ in 0..3 {
        expired(&store).await;
    }
    recorder.begin();
    assert_eq!(store.clear_expired().await.unwrap(), 3);
    assert_eq!(
        recorder.changes(&["cleared_sessions_total", "operations_total", "sweeps_total"]),
        [
            "cleared_sessions_total{engine=\"postgres\"} 3",
            "operations_total{engine=\"postgres\",operation=\"clear\",result=\"done\"} 1",
        ]
    );

    expired(&store).await;
    recorder.begin();
    let done = recorder.value("sweeps_total{result=\"done\"}");
    let sweeper = Sweeper::start(&store, Duration::from_millis(1));
    let rounds = async {
        while recorder.value("sweeps_total{result=\"done\"}") < done + 2.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, rounds).await.unwrap();
    drop(sweeper);
    assert_eq!(
        recorder.changes(&["cleared_sessions_total"]),
        ["cleared_sessions_total{engine=\"postgres\"} 1"]
    );
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
    let last = recorder.value("last_sweep_timestamp_seconds");
    assert!(last <= now && last > now - PATIENCE.as_secs_f64(), "{last} {now}");
}
