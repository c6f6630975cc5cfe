//! Values under keys, with an expiry: compare-and-set, large values.

use std::time::{Duration, SystemTime};

use actix_django_session::{
    SecretKey, Session, Store,
    backend::{self, Backend as _, Replaced, conformance},
};

use super::{Cache, all_names, connect, in_seconds, key, refused, stored, text, value};
use crate::support::redis::{Redis, Reply};

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn keys_values_and_expiry() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    let (name, bytes) = ("key", &b"\x80\x05\x00\xff\r\n$-1"[..]);
    assert!(cache.get(name).await.unwrap().is_none());
    assert!(cache.add(name, bytes, in_seconds(100)).await.unwrap());
    assert!(!cache.add(name, b"other", in_seconds(100)).await.unwrap());

    // As Django names it, and byte for byte.
    let key = ":1:django.contrib.sessions.cachesession-key";
    assert_eq!(redis.command(&["GET", key]), Reply::Text(bytes.to_vec()));
    let left = redis.command(&["PTTL", key]).int();
    assert!((90_000..=100_000).contains(&left), "{left}");
    let entry = cache.get(name).await.unwrap().unwrap();
    assert_eq!(entry.value.unwrap(), bytes);
    assert!(entry.expires > in_seconds(80) && entry.expires <= in_seconds(101));

    assert!(cache.delete(name).await.unwrap());
    assert!(!cache.delete(name).await.unwrap());

    redis.command(&["SET", key, ""]);
    let endless = cache.get(name).await.unwrap().unwrap();
    assert!(endless.value.unwrap().is_empty() && endless.expires > in_seconds(1 << 36));
    // A value without expiry can be stored again without one.
    let done = cache.replace(name, b"", b"v", endless.expires).await.unwrap();
    assert!(matches!(done, Replaced::Done));
    assert!(cache.get(name).await.unwrap().unwrap().expires > in_seconds(1 << 36));
    let end_of_time = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60);
    assert!(cache.add("late", b"v", end_of_time).await.unwrap());
    assert_eq!(value(&cache, "late").await, text("v"));
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn prefix_version_and_database() {
    let redis = Redis::start(&[]);
    let cache = connect(&format!("{}/3?prefix=a%3Ab&version=7", redis.url())).await;
    cache.add("name", b"v", in_seconds(100)).await.unwrap();
    let cache = connect(&redis.url()).await.key_prefix("site").version(2);
    cache.add("name", b"v", in_seconds(100)).await.unwrap();
    let keyspace = redis.command(&["INFO", "keyspace"]).text();
    assert!(keyspace.contains("db3:keys=1,"), "{keyspace}");
    assert_eq!(
        redis.command(&["KEYS", "*"]),
        Reply::Array(vec![Reply::Text(b"site:2:django.contrib.sessions.cachesession-name".to_vec())])
    );
    redis.command(&["SWAPDB", "0", "3"]);
    assert_eq!(
        redis.command(&["KEYS", "*"]),
        Reply::Array(vec![Reply::Text(b"a:b:7:django.contrib.sessions.cachesession-name".to_vec())])
    );

    for scheme in ["unix", "redis+unix"] {
        let url = format!("{scheme}://{}?prefix=a:b&version=7", redis.socket().display());
        assert_eq!(value(&connect(&url).await, "name").await, text("v"));
    }
    assert!(refused(&format!("{}/99", redis.url())).await.contains("no database of this number"));
    assert!(refused("redis+unix:///nowhere/redis.sock").await.contains("/nowhere/redis.sock is away"));
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn compare_and_set() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    let soon = in_seconds(100);
    assert!(matches!(cache.replace("a", b"", b"new", soon).await.unwrap(), Replaced::Gone));
    assert!(matches!(cache.rename("a", b"", "b", b"new", soon).await.unwrap(), Replaced::Gone));
    assert_eq!(redis.command(&["DBSIZE"]), Reply::Int(0));

    cache.add("a", b"one\0", soon).await.unwrap();
    for seen in [&b"one"[..], b"one\0\0", b"ONE\0", b""] {
        let Replaced::Conflict(there) = cache.replace("a", seen, b"two", soon).await.unwrap() else {
            panic!()
        };
        assert_eq!(there.value.unwrap(), &b"one\0"[..]);
        assert!(there.expires > in_seconds(80) && there.expires < in_seconds(101));
        assert!(matches!(cache.rename("a", seen, "b", b"two", soon).await.unwrap(), Replaced::Conflict(_)));
    }
    assert!(matches!(cache.replace("a", b"one\0", b"two", in_seconds(1000)).await.unwrap(), Replaced::Done));
    assert_eq!(value(&cache, "a").await, text("two"));
    assert!(redis.command(&["PTTL", &*stored("a")]).int() > 900_000);

    cache.add("taken", b"other", soon).await.unwrap();
    assert!(matches!(cache.rename("a", b"two", "taken", b"three", soon).await.unwrap(), Replaced::KeyTaken));
    assert_eq!((value(&cache, "a").await, value(&cache, "taken").await), (text("two"), text("other")));
    assert!(matches!(cache.rename("a", b"two", "b", b"three", soon).await.unwrap(), Replaced::Done));
    assert_eq!((value(&cache, "a").await, value(&cache, "b").await), (None, text("three")));
    assert!(matches!(cache.rename("b", b"three", "b", b"four", soon).await.unwrap(), Replaced::Done));
    assert_eq!(value(&cache, "b").await, text("four"));

    // A server that has forgotten the scripts.
    redis.command(&["SCRIPT", "FLUSH"]);
    assert!(matches!(cache.replace("b", b"four", b"five", soon).await.unwrap(), Replaced::Done));
    assert_eq!(value(&cache, "b").await, text("five"));
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn expired_values_are_not_stored() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    let (soon, over) = (in_seconds(100), SystemTime::now() - Duration::from_secs(1));
    assert!(cache.add("a", b"v", over).await.unwrap());
    assert_eq!(redis.command(&["DBSIZE"]), Reply::Int(0));
    cache.add("a", b"v", soon).await.unwrap();
    assert!(!cache.add("a", b"w", over).await.unwrap());
    assert!(matches!(cache.replace("a", b"other", b"w", over).await.unwrap(), Replaced::Conflict(_)));
    assert!(matches!(cache.replace("a", b"v", b"w", over).await.unwrap(), Replaced::Done));
    assert_eq!(redis.command(&["DBSIZE"]), Reply::Int(0));
    cache.add("a", b"v", soon).await.unwrap();
    assert!(matches!(cache.rename("a", b"v", "b", b"w", over).await.unwrap(), Replaced::Done));
    assert_eq!(redis.command(&["DBSIZE"]), Reply::Int(0));

    cache.add("short", b"v", SystemTime::now() + Duration::from_millis(30)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(value(&cache, "short").await, None);
    assert!(matches!(cache.replace("short", b"v", b"w", soon).await.unwrap(), Replaced::Gone));
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn many_at_once_and_from_many_runtimes() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    cache.add("n", b"0", in_seconds(100)).await.unwrap();
    let count = |cache: Cache| async move {
        for _ in 0..25 {
            let mut row = cache.get("n").await.unwrap().unwrap();
            loop {
                let value = row.value.unwrap();
                let n: u32 = std::str::from_utf8(&value).unwrap().parse().unwrap();
                let next = (n + 1).to_string();
                match cache.replace("n", &value, next.as_bytes(), in_seconds(100)).await.unwrap() {
                    Replaced::Done => break,
                    Replaced::Conflict(there) => row = there,
                    other => panic!("{other:?}"),
                }
            }
        }
    };
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let cache = cache.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let tasks: Vec<_> = (0..5).map(|_| tokio::spawn(count(cache.clone()))).collect();
                    for task in tasks {
                        task.await.unwrap();
                    }
                });
            })
        })
        .collect();
    tokio::task::spawn_blocking(|| threads.into_iter().for_each(|thread| thread.join().unwrap()))
        .await
        .unwrap();
    assert_eq!(value(&cache, "n").await, text("500"));
    // One connection each, and those of runtimes that ended are closed.
    let clients = redis.command(&["CLIENT", "LIST"]).text();
    assert_eq!(clients.matches("name=actix-django-session").count(), 1, "{clients}");
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn large_values() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    let large: Vec<u8> = (0..16 << 20).map(|n: u32| (n * 7) as u8).collect();
    cache.add("large", &large, in_seconds(100)).await.unwrap();
    assert!(cache.get("large").await.unwrap().unwrap().value.unwrap() == large);
    assert!(matches!(
        cache.replace("large", &large, b"small", in_seconds(100)).await.unwrap(),
        Replaced::Done
    ));
    assert_eq!(value(&cache, "large").await, text("small"));
}

/// For sites with a KEY_FUNCTION: everything else works as under Django's own names.
#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn names_by_a_key_function_of_the_site() {
    let redis = Redis::start(&[]);
    let engine = "django.contrib.sessions.cache";
    for (template, head) in [
        ("{prefix}:{version}:{key}", "a{x}b:7:"),
        ("{prefix}-{key}", "a{x}b-"),
        ("{key}", ""),
        ("v{version}/{prefix}/{key}", "v7/a{x}b/"),
        ("site:{key}", "site:"),
    ] {
        let url = format!("{}?prefix=a%7Bx%7Db&version=7&key_template={template}", redis.url());
        let cache = connect(&url).await;
        cache.add("name", b"v", in_seconds(100)).await.unwrap();
        let name = format!("{head}{engine}session-name");
        assert_eq!(redis.command(&["KEYS", "*"]), Reply::Array(vec![Reply::Text(name.into_bytes())]));
        assert_eq!(all_names(&cache).await.unwrap(), ["name"]);
        assert!(cache.delete("name").await.unwrap());
        let built = backend::Redis::connect(&redis.url()).await.unwrap();
        let built = Cache(built.key_template(template).unwrap()).key_prefix("p");
        conformance::check(built.0.clone()).await;
        built.0.check().await.unwrap();
    }
    for template in
        ["", "{prefix}", "{key}:{prefix}", "{key}{key}", "{perfix}:{key}", "{:{key}", "{prefix}{prefix}{key}"]
    {
        let error = backend::Redis::connect_lazy(&format!("redis://h?key_template={template}")).unwrap_err();
        assert!(
            error.is_configuration() && error.to_string().contains("ends with {key}"),
            "{template}: {error}"
        );
    }
}

/// Values as django-redis writes them with its compressors and serializers.
#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn values_of_every_compressor_are_read_or_named() {
    let redis = Redis::start(&[]);
    let store = Store::connect(&redis.url(), SecretKey::new("a secret")).await.unwrap();
    for (name, hex, says) in [
        (
            "zlib",
            "789c6b60991ac40001b553347a98b20da7f430950109969ccce29229b15334bc19bd99bc99537b584a522b4aa6f468241209\
             a694ea010048431f6d",
            "",
        ),
        (
            "gzip",
            "1f8b0800525f0b6b02ff6b60991ac40001b553347a98b20da7f430950109969ccce29229b15334bc19bd99bc99537b584a52\
             2b4aa6f468241209a694ea0100c761fd3a5d000000",
            "",
        ),
        ("zstd", "28b52ffd205d8d0100", "compressed with zstd"),
        (
            "lz4",
            "04224d1868405d00000000000000313b0000005280049552000100ff197d94288c026b31948c027631948c046c6973749",
            "compressed with lz4",
        ),
        ("lzma", "fd377a585a000004e6d6b446020021011600000074", "compressed with lzma"),
        ("msgpack", "83a26b31a27631a46c69737493010203", "in msgpack"),
        ("msgpack-large", "de0014a13000a13101a1", "in msgpack"),
        ("gzip-cut", "1f8b0800525f0b6b02ff6b60991ac40001b553347a98b2", "pickle cannot be read"),
        ("neither", "00112233", "pickle cannot be read"),
    ] {
        let pairs: Vec<_> = hex.as_bytes().chunks_exact(2).collect();
        let bytes: Vec<u8> = pairs
            .iter()
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect();
        redis.command(&[&b"SET"[..], stored(name).as_bytes(), &bytes]);
        match Session::open(&store, &key(name)).await {
            Ok(session) => {
                assert!(says.is_empty(), "{name} was read");
                assert_eq!(session.unwrap().get::<String>("k1").unwrap().as_deref(), Some("v1"), "{name}");
            }
            Err(error) => {
                assert!(error.is_unreadable() && !says.is_empty(), "{name}: {error}");
                assert!(error.to_string().contains(says), "{name}: {error}");
            }
        }
    }
}
