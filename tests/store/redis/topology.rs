//! TLS, Redis Cluster and Redis Sentinel.

use std::time::Duration;

use actix_django_session::Error;

use actix_django_session::backend::{self, Backend, Replace, Replaced, conformance};

use super::{all_names, connect, in_seconds, is_store, key, refused, stored, text, value};
use crate::support::certificates::Certificates;
use crate::support::redis::{Redis, RedisCluster, RedisSentinel, Reply};

/// Tries until it succeeds, for as long as a server may take to be there again.
async fn until_ok<T>(what: &str, mut attempt: impl AsyncFnMut() -> Result<T, Error>) -> T {
    let mut last = String::new();
    for _ in 0..600 {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => last = error.with_causes(),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{what}: {last}");
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn tls() {
    let (right, other) = (Certificates::new(&["127.0.0.1"]), Certificates::new(&["127.0.0.1"]));
    let redis = Redis::start_tls(&right, &[("requirepass", "secret")]);
    let url = |host: &str, ca: &Certificates| {
        format!("rediss://:secret@{host}:{}?ca={}", redis.tls_port(), ca.ca().display())
    };
    let cache = connect(&url("127.0.0.1", &right)).await;
    assert!(cache.add("a", b"v", in_seconds(100)).await.unwrap());
    assert_eq!(redis.command(&["GET", &*stored("a")]), Reply::Text(b"v".to_vec()));

    // As redis-py reads it: for Heroku, whose certificates nobody has signed.
    for (name, none) in [("127.0.0.1", "none"), ("localhost", "CERT_NONE")] {
        let url = format!("rediss://:secret@{name}:{}?ssl_cert_reqs={none}", redis.tls_port());
        assert_eq!(value(&connect(&url).await, "a").await, text("v"));
    }
    let authority = format!("ssl_ca_certs={}&ssl_cert_reqs=required", right.ca().display());
    connect(&format!("rediss://:secret@127.0.0.1:{}?{authority}", redis.tls_port())).await;
    let unknown = format!("rediss://:secret@127.0.0.1:{}?ssl_cert_reqs=required", redis.tls_port());
    assert!(refused(&unknown).await.contains("certificate"));
    let error = refused(&url("127.0.0.1", &other)).await;
    assert!(error.contains("no TLS with Redis") && error.contains("certificate"), "{error}");
    let error = refused(&url("localhost", &right)).await;
    assert!(error.contains("no TLS with Redis") && error.contains("not valid for name"), "{error}");
    let error = refused(&format!("rediss://127.0.0.1:{}", redis.tls_port())).await;
    assert!(error.contains("certificate"), "{error}");
    let error = refused(&format!("rediss://127.0.0.1:{}?deadline=0.5", redis.port())).await;
    assert!(error.contains("does it speak TLS"), "{error}");
    let error = refused(&format!("redis://127.0.0.1:{}", redis.tls_port())).await;
    assert!(error.contains("wants TLS") || error.contains("was lost"), "{error}");
    for file in ["/nowhere", "/dev/null"] {
        let error = backend::Redis::connect(&format!("rediss://127.0.0.1?ca={file}")).await.unwrap_err();
        assert!(error.to_string().contains("certificates in PEM form"), "{error}");
    }

    // A certificate that signed itself, as its file is often made.
    let itself = Certificates::self_signed(&["127.0.0.1"], true, false);
    let redis = Redis::start_tls(&itself, &[]);
    let port = redis.tls_port();
    let address = |ca: &Certificates| format!("rediss://127.0.0.1:{port}?ca={}", ca.ca().display());
    let cache = connect(&address(&itself)).await;
    assert!(cache.add("b", b"v", in_seconds(100)).await.unwrap());
    let another = Certificates::self_signed(&["127.0.0.1"], true, false);
    assert!(refused(&address(&another)).await.contains("certificate"));

    let cluster = RedisCluster::start_tls(&right);
    let first = cluster.masters[0].tls_port();
    let cache = connect(&format!("rediss+cluster://127.0.0.1:{first}?ca={}", right.ca().display())).await;
    for n in 0..20 {
        assert!(cache.add(&n.to_string(), b"v", in_seconds(100)).await.unwrap());
    }
    conformance::check(cache.0).await;
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn cluster() {
    let mut cluster = RedisCluster::start();
    assert!(refused(&cluster.masters[0].url()).await.contains("part of a cluster"));
    let alone = Redis::start(&[]);
    assert!(refused(&alone.url().replace("redis", "redis+cluster")).await.contains("not part of a cluster"));

    // One server is enough to find the others.
    let url = cluster.masters[2].url().replace("redis", "redis+cluster");
    let cache = connect(&url).await;
    let mut expected: Vec<_> = (0..300).map(|n| format!("s.{n}")).collect();
    for name in &expected {
        assert!(cache.add(name, b"v", in_seconds(100)).await.unwrap());
    }
    let sizes: Vec<_> = cluster.masters.iter().map(|master| master.command(&["DBSIZE"]).int()).collect();
    assert!(sizes.iter().all(|size| *size > 50) && sizes.iter().sum::<i64>() == 300, "{sizes:?}");
    conformance::check(cache.0.clone()).await;
    expected.sort();
    assert_eq!(all_names(&cache).await.unwrap(), expected);

    for name in ["s.1", "s.2", "{s}1", "{s}2", "{}s", "a{s}{b}"] {
        // The new key has the same slot, and so the session can be renamed.
        let old_key = key(name);
        let new_key = cache.0.generate_key(Some(&old_key));
        let new_name = format!(":1:django.contrib.sessions.cache{}", new_key.as_str());
        assert_eq!(cluster.keyslot(&new_name), cluster.keyslot(&stored(name)), "{name}");
        cache.add(name, b"v", in_seconds(100)).await.unwrap();
        let rename = Replace::new(&old_key, &b"v"[..], in_seconds(100)).new_key(&new_key);
        assert_eq!(cache.0.replace(rename).await.unwrap(), Replaced::Done);
        assert_eq!(cache.0.get(&new_key).await.unwrap().unwrap().value.unwrap(), "v");
        assert!(cache.0.delete(&new_key).await.unwrap());
    }
    cache.add("s.1", b"v", in_seconds(100)).await.unwrap();
    cache.add("{s}1", b"v", in_seconds(100)).await.unwrap();
    assert!(matches!(cache.rename("{s}1", b"v", "{s}2", b"w", in_seconds(9)).await.unwrap(), Replaced::Done));
    assert_eq!(value(&cache, "a{s}{b}").await, None);
    let error = cache.rename("s.1", b"v", "s.2", b"w", in_seconds(9)).await.unwrap_err();
    assert!(error.to_string().contains("different slots"), "{error}");

    let of = |n: usize| expected.iter().find(|name| cluster.owner(&stored(name)) == n).unwrap().clone();
    let (first, second) = (of(0), of(1));
    cluster.kill(0);
    let error = cache.get(&first).await.unwrap_err();
    assert!(is_store(&error), "{error}");
    for name in &expected {
        if cluster.owner(&stored(name)) != 0 {
            assert_eq!(value(&cache, name).await, text("v"));
        }
    }
    assert!(is_store(&cache.add(&first, b"v", in_seconds(9)).await.unwrap_err()));
    assert!(is_store(&cache.0.check().await.unwrap_err()));
    // The names of the others alone would be mistaken for all.
    assert!(is_store(&all_names(&cache).await.unwrap_err()));
    cluster.masters[0].start_again();
    until_ok("its keys are served again", async || cache.add(&first, b"v", in_seconds(100)).await).await;
    assert_eq!((value(&cache, &first).await, value(&cache, &second).await), (text("v"), text("v")));

    // A master that hangs does not block requests to the others.
    let cache = cache.timeout(Duration::from_secs(2));
    cluster.masters[0].pause();
    let error = cache.get(&first).await.unwrap_err();
    assert!(is_store(&error), "{error}");
    let slow = tokio::spawn({
        let (cache, first) = (cache.clone(), first.clone());
        async move { cache.get(&first).await }
    });
    for _ in 0..100 {
        assert_eq!(value(&cache, &second).await, text("v"));
    }
    assert!(!slow.is_finished());
    assert!(slow.await.unwrap().is_err());
    cluster.masters[0].resume();
    until_ok("it is served again", async || cache.get(&first).await).await;
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn cluster_that_moves_slots() {
    let cluster = RedisCluster::start();
    let cache = connect(&cluster.url()).await;
    let names = ["{t}here", "{t}gone"];
    let slot = cluster.keyslot("{t}").to_string();
    let (from, to) = match cluster.owner("{t}") {
        0 => (&cluster.masters[0], &cluster.masters[1]),
        n => (&cluster.masters[n], &cluster.masters[0]),
    };
    let cache = cache.key_prefix("");
    cache.add(names[0], b"v", in_seconds(100)).await.unwrap();
    cache.add(names[1], b"v", in_seconds(100)).await.unwrap();
    let cursor = cache.0.list(None).await.unwrap().next;
    let [from_id, to_id] = [from, to].map(|node| node.command(&["CLUSTER", "MYID"]).text());
    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    let to_port = to.port().to_string();
    let migrate = |name: &str| {
        from.command(&["MIGRATE", "127.0.0.1", &to_port, &stored(name), "0", "5000"]);
    };
    migrate(names[1]);

    // One here, one gone ahead, and a new one.
    for name in names {
        assert_eq!(value(&cache, name).await, text("v"));
        assert!(matches!(cache.replace(name, b"v", b"w", in_seconds(100)).await.unwrap(), Replaced::Done));
        assert_eq!(value(&cache, name).await, text("w"));
    }
    assert!(cache.add("{t}new", b"v", in_seconds(100)).await.unwrap());
    assert!(!cache.add("{t}new", b"v", in_seconds(100)).await.unwrap());
    // Two keys of which one is here and one is there: until both are there.
    let rename = tokio::spawn({
        let cache = cache.clone();
        async move { cache.rename("{t}here", b"w", "{t}gone", b"x", in_seconds(100)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!rename.is_finished());
    migrate(names[0]);
    assert!(matches!(rename.await.unwrap().unwrap(), Replaced::KeyTaken));

    for node in [to, from] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    assert_eq!(value(&cache, names[0]).await, text("w"));
    assert!(matches!(
        cache.rename(names[0], b"w", "{t}3", b"x", in_seconds(100)).await.unwrap(),
        Replaced::Done
    ));
    let error = cache.0.list(cursor).await.unwrap_err();
    assert!(error.to_string().contains("begin again"), "{error}");
    assert_eq!(all_names(&cache).await.unwrap(), ["{t}3", "{t}gone", "{t}new"]);
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn cluster_with_replicas() {
    let mut cluster = RedisCluster::start_with_replicas();
    let cache = connect(&cluster.url()).await.timeout(Duration::from_secs(1));
    let names: Vec<_> = (0..30).map(|n| n.to_string()).collect();
    for name in &names {
        cache.add(name, b"v", in_seconds(1000)).await.unwrap();
    }
    let acknowledged = cluster.masters[1].command(&["WAIT", "1", "5000"]).int();
    assert_eq!(acknowledged, 1);
    cluster.kill(1);
    for name in &names {
        let done = until_ok("a replica takes over", async || {
            cache.replace(name, b"v", b"w", in_seconds(1000)).await
        });
        assert!(matches!(done.await, Replaced::Done), "{name}");
    }
    cluster.masters[1].start_again();
    cluster.wait_until_ok();
    for name in &names {
        assert_eq!(value(&cache, name).await, text("w"));
    }
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn sentinel() {
    let mut all = RedisSentinel::start(&[("requirepass", "secret")]);
    let cache = connect(&all.url()).await;
    assert!(cache.add("a", b"v", in_seconds(1000)).await.unwrap());
    assert_eq!(all.master.command(&["GET", &*stored("a")]), Reply::Text(b"v".to_vec()));
    assert!(refused(&all.url().replace("/main", "/other")).await.contains("no master"));
    conformance::check(cache.0.clone()).await;
    // A sentinel that is away is passed by.
    let url = all.url().replacen("127.0.0.1:", "127.0.0.1:1,127.0.0.1:", 1);
    assert_eq!(value(&connect(&url).await, "a").await, text("v"));

    assert_eq!(all.master.command(&["WAIT", "1", "5000"]).int(), 1);
    all.master.kill();
    assert!(is_store(&cache.get("a").await.unwrap_err()));
    until_ok("the replica takes over", async || cache.replace("a", b"v", b"w", in_seconds(1000)).await).await;
    all.wait_for_failover();
    assert_eq!(value(&cache, "a").await, text("w"));
    assert_eq!(all.replica.command(&["GET", &*stored("a")]), Reply::Text(b"w".to_vec()));

    // The old one comes back as a replica, and is left in peace.
    all.master.start_again();
    for n in 0..20 {
        assert!(cache.add(&format!("n{n}"), b"v", in_seconds(1000)).await.unwrap());
    }
    // A change of hands without a death.
    let master = all.master.port().to_string();
    until_ok("the old one takes over again", async || {
        let now = all.sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main"]);
        if now.array()[1].text() != master {
            // Refused until the old one has become a replica.
            all.sentinel.try_command(&["SENTINEL", "FAILOVER", "main"]).unwrap();
        }
        cache.add("back", b"v", in_seconds(1000)).await?;
        match all.master.try_command(&["EXISTS", &*stored("back")]) {
            Ok(Reply::Int(1)) => Ok(()),
            other => {
                cache.delete("back").await?;
                Err(Error::store(format!("{other:?}")))
            }
        }
    })
    .await;
}
