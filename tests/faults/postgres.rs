//! PostgreSQL is stopped, killed, made to hang, to refuse, to have no connection left; connections are cut;
//! under load.

use std::{thread, time::Duration};

use super::outage::Outage;
use crate::support::{
    at_length,
    postgres::{PrivateServer, try_query},
    proc::{PATIENCE, wait_until},
    proxy::Proxy,
};

fn url(server: &PrivateServer) -> String {
    format!("{}?application_name=site", server.url())
}

/// Connections of the site that are open.
fn connections(server: &PrivateServer) -> usize {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'site'";
    server.query(count)[0][0].as_ref().unwrap().parse().unwrap()
}

/// All of a pool's for each of two workers and the thread that opened the store, if all are in use.
const AT_MOST: usize = 3 * 8;

fn no_connection_is_left_behind(server: &PrivateServer) {
    let open = connections(server);
    assert!(open <= AT_MOST, "{open} connections");
}

fn rounds() -> usize {
    if at_length() { 10 } else { 1 }
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_server_that_is_stopped_and_started_again() {
    let mut server = PrivateServer::with_table(&[]);
    let outage = Outage::of(url(&server));
    for _ in 0..rounds() {
        server.stop_fast();
        outage.lasts();
        server.start_again();
        outage.is_over();
    }
    no_connection_is_left_behind(&server);
    outage.ends("stopped fast");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_server_that_is_killed_and_started_again() {
    let mut server = PrivateServer::with_table(&[]);
    let outage = Outage::of(url(&server));
    for _ in 0..rounds() {
        server.kill();
        outage.lasts();
        server.start_again();
        outage.is_over();
    }
    no_connection_is_left_behind(&server);
    outage.ends("killed");
}

/// Without a pause in between: what is under way is answered by the one or the other.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_server_that_is_restarted() {
    let mut server = PrivateServer::with_table(&[]);
    let outage = Outage::of(url(&server));
    for _ in 0..3 * rounds() {
        server.stop_fast();
        server.start_again();
        outage.is_over();
    }
    no_connection_is_left_behind(&server);
    outage.ends("restarted");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_server_that_hangs() {
    let server = PrivateServer::with_table(&[]);
    let outage = Outage::of(url(&server));
    for _ in 0..rounds() {
        server.pause();
        outage.lasts();
        server.resume();
        outage.is_over();
    }
    no_connection_is_left_behind(&server);
    outage.ends("made to hang");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_server_that_refuses() {
    let server = PrivateServer::with_table(&[]);
    let outage = Outage::of(url(&server));
    // Those that are in stay in until somebody throws them out, who comes by another way.
    let rules = server.replace_rules("local all all trust\nhost all all 127.0.0.1/32 reject\n");
    let socket = server.socket_url();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'site'";
    try_query(&socket, cut).unwrap();
    outage.lasts();
    drop(rules);
    outage.is_over();
    no_connection_is_left_behind(&server);
    outage.ends("made to refuse");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_server_without_free_connections() {
    let server =
        PrivateServer::with_table(&[("max_connections", "12"), ("superuser_reserved_connections", "2")]);
    server.query("CREATE ROLE app LOGIN; GRANT ALL ON django_session TO app");
    let outage = Outage::of(url(&server).replace("//postgres@", "//app@"));
    // Others take what there is as soon as it is free.
    let hogs: Vec<_> = (0..10)
        .map(|_| {
            let url = server.url().replace("//postgres@", "//app@");
            thread::spawn(move || {
                wait_until("a connection should become free", PATIENCE, || {
                    try_query(&url, "SELECT pg_sleep(10)").is_ok()
                });
            })
        })
        .collect();
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'site'";
    wait_until("the others should have all connections", PATIENCE, || {
        let hogs = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND usename = 'app'";
        // All who are at the door may take the places of superusers too, for a moment.
        let _ = try_query(&server.url(), cut);
        try_query(&server.url(), hogs).is_ok_and(|rows| rows[0][0].as_deref() == Some("10"))
    });
    outage.lasts();
    hogs.into_iter().for_each(|hog| hog.join().unwrap());
    outage.is_over();
    no_connection_is_left_behind(&server);
    outage.ends("without a connection");
}

/// Now this one, now that one: each time the increment under way is in doubt, and no other request fails.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn connections_that_are_cut_one_by_one() {
    let server = PrivateServer::with_table(&[]);
    let outage = Outage::of(url(&server));
    let one = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'site' \
               ORDER BY random() LIMIT 1";
    let cuts = 40 * rounds() as u64;
    for _ in 0..cuts {
        server.query(one);
        thread::sleep(Duration::from_millis(25));
    }
    outage.is_over();
    no_connection_is_left_behind(&server);
    let seen = outage.ends("cut one by one");
    let failed: u64 = seen.failed.values().sum();
    assert!(failed <= cuts && cuts < seen.confirmed, "more than those under way: {seen:?}");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_slow_or_lossy_network() {
    let server = PrivateServer::with_table(&[]);
    let proxy = Proxy::start(server.port());
    let through = url(&server).replace(&server.port().to_string(), &proxy.port().to_string());
    let outage = Outage::of(through);
    outage.of_the_network(&proxy);
    no_connection_is_left_behind(&server);
    outage.ends("a bad network");
}
