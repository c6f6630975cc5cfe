//! The log of an outage: its beginning, its end, and sums instead of a line for each request.

use std::{thread, time::Duration};

use actix_django_session::{SecretKey, SessionSettings, Store};

use super::SECRET;
use crate::support::{
    logs::Logs,
    postgres::PrivateServer,
    proc::{PATIENCE, wait_until},
    redis::Redis,
    site::Site,
    visitors::Visitors,
};

/// Each failed request is counted, by few lines.
fn check_sums(logs: &Logs, failed: u64) {
    logs.expect_total("ERROR", failed as usize);
    let lines = logs.with("actix_django_session::event_log");
    assert!(lines.len() < 40, "{} lines: {lines:#?}", lines.len());
    println!("{failed} failed requests, {} lines", lines.len());
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn an_outage_under_load_is_some_lines_that_add_up() {
    let mut server = PrivateServer::start(&[]);
    let url = format!("{}?deadline=1", server.url());
    let site = Site::start(SessionSettings::default(), async move || {
        let store = Store::connect(&url, SecretKey::new(SECRET)).await.unwrap();
        store.create_table().await.unwrap();
        store
    });
    let logs = site.logs();
    let visitors = Visitors::come(12, &[site.url("/ops")]);
    for outages in 1..=2 {
        visitors.wait_for(100, PATIENCE);
        assert_eq!(logs.with("works again").len(), outages - 1, "{:#?}", logs.lines());
        server.stop_fast();
        thread::sleep(Duration::from_secs(4));
        server.start_again();
        wait_until("the recovery should be logged", PATIENCE, || {
            logs.with("WARN").iter().filter(|line| line.contains("works again")).count() == outages
        });
    }
    let failed = visitors.leave_and_see().failed;
    assert_eq!(failed.keys().collect::<Vec<_>>(), [&503]);
    assert!(failed[&503] > 500, "{failed:?}");
    check_sums(&logs, failed[&503]);
    // Both ends of each outage, in this order.
    let lines = logs.with("actix_django_session::event_log");
    assert!(lines[0].contains("ERROR") && !lines[0].contains("more in"), "{lines:#?}");
    assert!(lines.last().unwrap().contains("works again"), "{lines:#?}");
    let recovery = &logs.with("works again")[0];
    let end = lines.iter().position(|line| line == recovery).unwrap();
    assert!(lines[end - 1].contains(" more in "), "the sum of the repeats: {lines:#?}");
    assert!(!lines[end + 1].contains(" more in "), "the first of the second outage: {lines:#?}");
}

/// Reads succeed all the while: that is no recovery.
#[test]
#[ignore = "needs Redis: run tests/run"]
fn a_full_redis_is_some_lines_that_add_up() {
    let redis = Redis::start(&[]);
    let url = redis.url();
    let site = Site::start(SessionSettings::default(), async move || {
        Store::connect(&url, SecretKey::new(SECRET)).await.unwrap()
    });
    let logs = site.logs();
    let visitors = Visitors::come(8, &[site.url("/ops")]);
    visitors.wait_for(100, PATIENCE);
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    thread::sleep(Duration::from_secs(3));
    assert!(logs.with("works again").is_empty(), "{:#?}", logs.lines());
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    wait_until("the recovery should be logged", PATIENCE, || !logs.with("works again").is_empty());
    let failed = visitors.leave_and_see().failed;
    assert!(failed[&503] > 100, "{failed:?}");
    check_sums(&logs, failed[&503]);
}

/// Nobody comes any more after the outage has begun: the sum is logged all the same.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn the_sum_is_logged_when_traffic_and_runtime_end() {
    let mut server = PrivateServer::start(&[]);
    let url = format!("{}?deadline=1", server.url());
    let site = Site::start(SessionSettings::default(), async move || {
        let store = Store::connect(&url, SecretKey::new(SECRET)).await.unwrap();
        store.create_table().await.unwrap();
        store
    });
    let logs = site.logs();
    let visitors = Visitors::come(4, &[site.url("/ops")]);
    visitors.wait_for(20, PATIENCE);
    server.stop_fast();
    wait_until("requests should fail", PATIENCE, || !visitors.seen().failed.is_empty());
    thread::sleep(Duration::from_millis(500));
    let seen = visitors.leave_and_see();
    let failed = seen.failed[&503];
    assert!((logs.total("ERROR") as u64) < failed, "repeats are only counted yet: {:#?}", logs.lines());
    drop(site);
    check_sums(&logs, failed);
}
