//! The same for Redis: killed, made to hang, cut, behind a bad network; a master of a cluster dies.

use std::{thread, time::Duration};

use serde_json::json;

use super::outage::Outage;
use crate::support::{
    at_length,
    proc::PATIENCE,
    proxy::Proxy,
    redis::{Redis, RedisCluster},
};

/// Every write is on disk before it is confirmed, and so survives a kill.
fn durable() -> Redis {
    Redis::start(&[("appendonly", "yes"), ("appendfsync", "always")])
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/0?prefix=site")
}

fn rounds() -> usize {
    if at_length() { 10 } else { 1 }
}

#[test]
#[ignore = "needs Redis: run tests/run"]
fn a_redis_that_is_killed_and_started_again() {
    let mut redis = durable();
    let outage = Outage::of(url(redis.port()));
    for _ in 0..rounds() {
        redis.kill();
        outage.lasts();
        redis.start_again();
        outage.is_over();
    }
    outage.ends("Redis killed");
}

#[test]
#[ignore = "needs Redis: run tests/run"]
fn a_redis_that_hangs() {
    let redis = durable();
    let outage = Outage::of(url(redis.port()));
    for _ in 0..rounds() {
        redis.pause();
        outage.lasts();
        redis.resume();
        outage.is_over();
    }
    outage.ends("Redis made to hang");
}

#[test]
#[ignore = "needs Redis: run tests/run"]
fn connections_to_redis_that_are_cut_one_by_one() {
    let redis = durable();
    let outage = Outage::of(url(redis.port()));
    for _ in 0..40 * rounds() {
        redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        thread::sleep(Duration::from_millis(25));
    }
    outage.is_over();
    let clients: usize = redis.info("connected_clients", &["INFO", "clients"]).parse().unwrap();
    assert!(clients <= 8, "{clients} connections");
    outage.ends("Redis cut one by one");
}

#[test]
#[ignore = "needs Redis: run tests/run"]
fn a_slow_or_lossy_network_to_redis() {
    let redis = durable();
    let proxy = Proxy::start(redis.port());
    let outage = Outage::of(url(proxy.port()));
    outage.of_the_network(&proxy);
    outage.ends("a bad network to Redis");
}

/// Sessions on the other masters are served all the time; those of the dead one, once the replica has taken
/// over. A master confirms a write before its replica has it, so the last confirmed writes may be missing.
/// Redis promises no more than that; everything else must be there.
#[test]
#[ignore = "needs Redis: run tests/run"]
fn a_master_of_a_cluster_dies_and_its_replica_takes_over() {
    let mut cluster = RedisCluster::start_with_replicas();
    let outage = Outage::of(format!("{}/?prefix=site", cluster.url()));
    cluster.kill(0);
    let before = outage.visitors.seen();
    thread::sleep(Duration::from_millis(500));
    assert!(outage.visitors.seen().confirmed > before.confirmed + 20, "the other masters serve");
    let ops = outage.site.url("/ops");
    // Until everybody is served again.
    crate::support::proc::wait_until("the replica should have taken over", PATIENCE, || {
        let failed = outage.visitors.seen().failed;
        thread::sleep(Duration::from_millis(300));
        outage.visitors.seen().failed == failed
    });
    outage.visitors.wait_for(200, PATIENCE);
    let visitors = outage.visitors.leave();
    assert!(visitors.iter().all(|visitor| visitor.unsure == 0), "all are served");
    for mut visitor in visitors {
        let there = visitor.client.post_json(&ops, &json!([["get", "n"]])).json();
        assert_eq!(there["results"][0].as_u64(), Some(visitor.confirmed));
        assert!(visitor.wrong.len() <= 1, "{:?}", visitor.wrong);
    }
}
