//! A cache in front of a database: what may come between the two.

use std::thread;

use actix_django_session::{
    SecretKey, SessionSettings, Store,
    backend::{Postgres, Redis as Engine},
    codec::{Codec, PickleSerializer},
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{
    pair::{Pair, SECRET, Server, Visitor},
    support::{
        gate::Gated,
        proc::{PATIENCE, wait_until},
        redis::{Redis, Reply},
        site::Site,
    },
};

fn redis(pair: &Pair) -> &Redis {
    pair.db.redis().expect("a cache in front of a database")
}

fn empty_the_cache(pair: &Pair) {
    redis(pair).command(&["FLUSHALL"]);
}

/// A cached value may be evicted at any time.
pub(crate) fn cache_emptied(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut visitor = pair.visitor();
        visitor.run(here, &json!([["set", "k", 1], ["set_expiry", 600]]));
        for (n, server) in [there, here, there].into_iter().enumerate() {
            empty_the_cache(pair);
            assert_eq!(
                visitor.run(server, &json!([["get", "k"], ["set", "n", n]]))[0],
                1,
                "{}",
                server.name()
            );
            assert_eq!(visitor.look(here, "n"), n);
            empty_the_cache(pair);
            visitor.run(server, &json!([["set", "unseen", n]]));
            assert_eq!(visitor.look(there, "unseen"), n);
        }
        empty_the_cache(pair);
        let mut old = visitor.clone();
        visitor.run(there, &json!([["flush"]]));
        assert_eq!(old.clone().look(here, "k"), Value::Null);
        assert_eq!(old.look(there, "k"), Value::Null);
    }
}

/// Readers miss the cache, read the row, and are delayed before they fill the cache. Meanwhile the session
/// changes or is deleted. Django then caches the stale value: a known race, which shows that this test
/// detects it. Our store caches nothing.
pub(crate) fn late_fill(pair: &Pair) {
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["set", "k", 1]]));
    let (key, mut tab, mut slow) = (visitor.the_key(), visitor.clone(), visitor.clone());
    empty_the_cache(pair);
    thread::scope(|scope| {
        let slow = scope.spawn(move || slow.run(&pair.django, &json!([["slow_fill", 2], ["get", "k"]])));
        wait_until("Django should be about to fill the cache", PATIENCE, || {
            redis(pair).command(&["EXISTS", ":1:held_up"]).int() == 1
        });
        tab.run(&pair.django, &json!([["flush"]]));
        assert_eq!(slow.join().unwrap(), [Value::Null, json!(1)]);
    });
    assert_eq!(visitor.clone().look(&pair.django, "k"), 1, "Django brings it back");
    assert!(pair.db.row(&key).is_some(), "in the cache alone");
    let reply = visitor.ask(&pair.ours, &json!([["set", "k", 2]]));
    assert_eq!(reply.status, 400, "we find out as soon as we look into the table: {}", reply.text());
    assert_eq!(pair.db.row(&key), None, "and the cache forgets it");
    assert_eq!(visitor.look(&pair.django, "k"), Value::Null);

    let (ours, gate) = held_site(pair);
    for other in [&pair.django as &dyn Server, &pair.ours] {
        for end in ["flush", "cycle_key", "delete_row", "set"] {
            late_fill_of_ours(pair, (&ours, &gate), other, end);
        }
    }
}

fn late_fill_of_ours(pair: &Pair, (ours, gate): (&Site, &Gated<Postgres>), other: &dyn Server, end: &str) {
    let what = format!("{end} by {}", other.name());
    let mut visitor = pair.visitor();
    visitor.run(other, &json!([["set", "k", 1]]));
    let (key, mut tab, mut slow) = (visitor.the_key(), visitor.clone(), visitor.clone());
    empty_the_cache(pair);
    gate.close("get");
    thread::scope(|scope| {
        let slow = scope.spawn(move || slow.look(ours, "k"));
        Runtime::new().unwrap().block_on(gate.reached()); // it has read the row
        let program = if end == "set" { json!([["set", "k", 2]]) } else { json!([[end]]) };
        tab.run(other, &program);
        gate.open();
        assert_eq!(slow.join().unwrap(), 1, "{what}: what was there when it looked");
    });
    if end == "set" {
        for server in [ours as &dyn Server, &pair.django, &pair.ours] {
            assert_eq!(visitor.look(server, "k"), 2, "{what}: {}", server.name());
        }
        assert_eq!(pair.data(&key).to_json(), r#"{"k":2}"#, "{what}");
    } else {
        assert_eq!(pair.db.row(&key), None, "{what}");
        for server in [ours as &dyn Server, &pair.django, &pair.ours] {
            assert_eq!(visitor.clone().look(server, "k"), Value::Null, "{what}: {}", server.name());
        }
    }
}

/// Our site, with a gate that delays its reads of the table.
fn held_site(pair: &Pair) -> (Site, Gated<Postgres>) {
    let gate = Gated::new(Postgres::connect_lazy(&pair.db.database_url()).unwrap());
    let (cache, database) = (redis(pair).url(), Store::new(gate.clone(), pair.db.codec(SECRET)));
    let site = Site::start(SessionSettings::default(), async move || {
        let pickles = Codec::unsigned(PickleSerializer::new());
        let cache = Store::new(Engine::connect(&cache).await.unwrap(), pickles);
        Store::cached(cache, database).unwrap()
    });
    (site, gate)
}

/// A cache that shows what was before: what we write is what the table has, with our change.
pub(crate) fn stale_cache(pair: &Pair) {
    stale(pair, &json!(["set", "n", 1]), &json!(["set", "n", 2]), "2");
}

/// The same, where what changed is an object of the site's.
pub(crate) fn stale_object(pair: &Pair) {
    let [before, after] = ["object", "another object"].map(|kind| json!(["python", "n", kind]));
    stale(pair, &before, &after, "Basket([])");
}

fn stale(pair: &Pair, before: &Value, after: &Value, repr: &str) {
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([before]));
    let name = format!(":1:django.contrib.sessions.cached_db{}", visitor.the_key());
    let Reply::Text(old) = redis(pair).command(&["GET", &name]) else { panic!("nothing in the cache") };
    visitor.run(&pair.django, &json!([after]));
    // As if Django had written the row, and not the cache yet.
    redis(pair).command(&[b"SET", name.as_bytes(), &old, b"EX", b"1000"]);
    visitor.run(&pair.ours, &json!([["set", "x", 1]]));
    assert_eq!(visitor.run(&pair.django, &json!([["repr", "n"], ["get", "x"]])), [json!(repr), json!(1)]);
    empty_the_cache(pair);
    assert_eq!(visitor.run(&pair.django, &json!([["repr", "n"], ["get", "x"]])), [json!(repr), json!(1)]);
}

/// Without an answer from Redis we serve from the table alone. When it is back, what it shows is not what was
/// before.
pub(crate) fn cache_away(pair: &Pair) {
    let mut kept = pair.visitor();
    kept.run(&pair.django, &json!([["set", "n", 1]]));
    let mut ended = pair.visitor();
    ended.run(&pair.django, &json!([["set", "n", 1]]));
    let (key, copy) = (ended.the_key(), ended.clone());
    redis(pair).pause();
    let away = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        assert_eq!(kept.look(&pair.ours, "n"), 1);
        assert_eq!(kept.run(&pair.ours, &json!([["incr", "n"]])), [2]);
        ended.run(&pair.ours, &json!([["flush"]]));
        let mut born = pair.visitor();
        born.run(&pair.ours, &json!([["set", "n", 7]]));
        born
    }));
    redis(pair).resume();
    let mut born = away.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    // Our store retries the cache after a pause, and only when a session is loaded.
    wait_until("the cache should be used again", PATIENCE, || {
        kept.look(&pair.ours, "n");
        kept.look(&pair.django, "n") == 2
    });
    assert_eq!(copy.clone().look(&pair.django, "n"), Value::Null);
    assert_eq!(pair.db.row(&key), None);
    assert_eq!(born.look(&pair.django, "n"), 7);
    assert_eq!(pair.data(&born.the_key()).to_json(), r#"{"n":7}"#);
}

/// A wrong SECRET_KEY, while the cache, which is not signed, can be read: nothing of what is there is lost.
pub(crate) fn wrong_secret(pair: &Pair) {
    let mut visitor = pair.user();
    visitor.run(&pair.django, &json!([["set", "cart", [1, 2]]]));
    let row = pair.db.row(&visitor.the_key());
    let wrong = pair.site(SessionSettings::default(), SecretKey::new("another secret"));
    let _alone = pair.alone_with_logs();
    for program in [
        json!([["get", "cart"]]),
        json!([["set", "cart", 0]]),
        json!([["incr", "n"], ["save"], ["incr", "n"]]),
        json!([["cycle_key"]]),
        json!([["clear"]]),
        json!([["clear"], ["set", "cart", 0]]),
        json!([["set", "cart", 0], ["status", 500]]),
    ] {
        let unharmed = |visitor: &Visitor| {
            let mut tab = visitor.clone();
            let found = tab.run(&pair.django, &json!([["get", "cart"], ["user"]]));
            found == [json!([1, 2]), json!(crate::support::django::USER)]
        };
        assert!(unharmed(&visitor));
        let mut tab = visitor.clone();
        tab.ask(&wrong, &program);
        assert_eq!(pair.db.row(&visitor.the_key()), row, "{program}");
        assert!(unharmed(&visitor), "{program}");
    }
}
