//! `RedisCache` against real servers: alone, in a cluster, with sentinels, with TLS, in trouble.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use actix_django_session::Error;
use actix_django_session::store::{Cache, RedisCache, Replaced};
use support::certificates::Certificates;
use support::redis::{Redis, RedisCluster, RedisSentinel, Reply};

mod support;

fn in_seconds(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

async fn connect(url: &str) -> RedisCache {
    RedisCache::connect(url).await.unwrap_or_else(|error| panic!("{}", error.with_causes()))
}

/// The error of a connection that must fail, and that it tells no password.
async fn refused(url: &str) -> String {
    let error = RedisCache::connect(url).await.expect_err("should not connect");
    let text = format!("{error:?} {}", error.with_causes());
    assert!(!text.contains("secret"), "{text}");
    error.with_causes()
}

async fn value(cache: &RedisCache, name: &str) -> Option<String> {
    let entry = cache.get(name).await.unwrap_or_else(|error| panic!("{}", error.with_causes()))?;
    Some(String::from_utf8_lossy(&entry.value).into_owned())
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn is_store(error: &Error) -> bool {
    error.is_store() && !error.with_causes().contains("secret")
}

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
async fn names_values_and_ends() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    let (name, bytes) = ("django.contrib.sessions.cachekey", &b"\x80\x05\x00\xff\r\n$-1"[..]);
    assert!(cache.get(name).await.unwrap().is_none());
    assert!(cache.add(name, bytes, in_seconds(100)).await.unwrap());
    assert!(!cache.add(name, b"other", in_seconds(100)).await.unwrap());

    // As Django names it, and byte for byte.
    let key = ":1:django.contrib.sessions.cachekey";
    assert_eq!(redis.command(&["GET", key]), Reply::Text(bytes.to_vec()));
    let left = redis.command(&["PTTL", key]).int();
    assert!((90_000..=100_000).contains(&left), "{left}");
    let entry = cache.get(name).await.unwrap().unwrap();
    assert_eq!(&*entry.value, bytes);
    assert!(entry.expires > in_seconds(80) && entry.expires <= in_seconds(101));

    assert!(cache.delete(name).await.unwrap());
    assert!(!cache.delete(name).await.unwrap());

    redis.command(&["SET", key, ""]);
    let endless = cache.get(name).await.unwrap().unwrap();
    assert!(endless.value.is_empty() && endless.expires > in_seconds(1 << 36));
    // What never ends may be stored again so.
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
    assert_eq!(redis.command(&["KEYS", "*"]), Reply::Array(vec![Reply::Text(b"site:2:name".to_vec())]));
    redis.command(&["SWAPDB", "0", "3"]);
    assert_eq!(redis.command(&["KEYS", "*"]), Reply::Array(vec![Reply::Text(b"a:b:7:name".to_vec())]));

    let socket = connect(&format!("redis+unix://{}?prefix=a:b&version=7", redis.socket().display())).await;
    assert_eq!(value(&socket, "name").await, text("v"));
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
        let Replaced::Changed(there) = cache.replace("a", seen, b"two", soon).await.unwrap() else {
            panic!()
        };
        assert_eq!(&*there.value, b"one\0");
        assert!(there.expires > in_seconds(80) && there.expires < in_seconds(101));
        assert!(matches!(cache.rename("a", seen, "b", b"two", soon).await.unwrap(), Replaced::Changed(_)));
    }
    assert!(matches!(cache.replace("a", b"one\0", b"two", in_seconds(1000)).await.unwrap(), Replaced::Done));
    assert_eq!(value(&cache, "a").await, text("two"));
    assert!(redis.command(&["PTTL", ":1:a"]).int() > 900_000);

    cache.add("taken", b"other", soon).await.unwrap();
    assert!(matches!(cache.rename("a", b"two", "taken", b"three", soon).await.unwrap(), Replaced::Taken));
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
async fn what_is_over_is_not_stored() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    let (soon, over) = (in_seconds(100), SystemTime::now() - Duration::from_secs(1));
    assert!(cache.add("a", b"v", over).await.unwrap());
    assert_eq!(redis.command(&["DBSIZE"]), Reply::Int(0));
    cache.add("a", b"v", soon).await.unwrap();
    assert!(!cache.add("a", b"w", over).await.unwrap());
    assert!(matches!(cache.replace("a", b"other", b"w", over).await.unwrap(), Replaced::Changed(_)));
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

async fn all_names(cache: &RedisCache, prefix: &str) -> Result<Vec<String>, Error> {
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let (some, next) = cache.names(prefix, cursor.as_deref()).await?;
        all.extend(some);
        cursor = next;
        if cursor.is_none() {
            all.sort();
            all.dedup();
            return Ok(all);
        }
    }
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn names_one_by_one() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await.key_prefix("[a-z]*?\\");
    assert_eq!(all_names(&cache, "s.").await.unwrap(), [""; 0]);
    let mut expected: Vec<_> = (0..3000).map(|n| format!("s.{n}")).collect();
    for name in &expected {
        cache.add(name, b"v", in_seconds(100)).await.unwrap();
    }
    cache.add("t.1", b"v", in_seconds(100)).await.unwrap();
    connect(&redis.url()).await.add("s.foreign", b"v", in_seconds(100)).await.unwrap();
    redis.command(&[&b"SET"[..], b"[a-z]*?\\:1:s.\xff", b"no text"]);
    expected.sort();
    assert_eq!(all_names(&cache, "s.").await.unwrap(), expected);
    assert_eq!(all_names(&cache, "s*").await.unwrap(), [""; 0]);
    for cursor in ["", "x", "0", "0.0.0", "1.2.3.4", "0.-1.0"] {
        assert!(is_store(&cache.names("s.", Some(cursor)).await.unwrap_err()), "{cursor}");
    }
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn many_at_once_and_from_many_runtimes() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    cache.add("n", b"0", in_seconds(100)).await.unwrap();
    let count = |cache: RedisCache| async move {
        for _ in 0..25 {
            let mut entry = cache.get("n").await.unwrap().unwrap();
            loop {
                let n: u32 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                let next = (n + 1).to_string();
                match cache.replace("n", &entry.value, next.as_bytes(), in_seconds(100)).await.unwrap() {
                    Replaced::Done => break,
                    Replaced::Changed(there) => entry = there,
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
    assert!(*cache.get("large").await.unwrap().unwrap().value == *large);
    assert!(matches!(
        cache.replace("large", &large, b"small", in_seconds(100)).await.unwrap(),
        Replaced::Done
    ));
    assert_eq!(value(&cache, "large").await, text("small"));
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn passwords() {
    let redis = Redis::start(&[("requirepass", "secret")]);
    connect(&redis.url()).await.add("a", b"v", in_seconds(100)).await.unwrap();
    let port = redis.port();
    assert!(refused(&format!("redis://127.0.0.1:{port}")).await.contains("wants a password"));
    assert!(
        refused(&format!("redis://:secrets@127.0.0.1:{port}"))
            .await
            .contains("refuses this user or password")
    );
    assert!(
        refused(&format!("redis://u:secret@127.0.0.1:{port}"))
            .await
            .contains("refuses this user or password")
    );

    redis.command(&["ACL", "SETUSER", "app", "on", ">se/c:ret", "~site:*", "+get", "+pttl", "+set", "+del"]);
    let url = format!("redis://app:se%2Fc%3Aret@127.0.0.1:{port}?prefix=site");
    let error = refused(&url).await;
    assert!(error.contains("+evalsha") && error.contains("NOPERM"), "{error}");
    redis.command(&["ACL", "SETUSER", "app", "+exists", "+eval", "+evalsha", "+scan", "+ping"]);
    let cache = connect(&url).await;
    assert!(cache.add("a", b"v", in_seconds(100)).await.unwrap());
    assert!(matches!(cache.rename("a", b"v", "b", b"w", in_seconds(100)).await.unwrap(), Replaced::Done));
    assert_eq!(all_names(&cache, "").await.unwrap(), ["b"]);
    let other = cache.clone().key_prefix("other");
    let error = other.get("keykeykey").await.unwrap_err();
    assert!(is_store(&error) && error.to_string().contains("NOPERM"), "{error}");
    assert!(!error.with_causes().contains("keykeykey"));

    let open = Redis::start(&[]);
    assert!(refused(&format!("redis://:secret@127.0.0.1:{}", open.port())).await.contains("leave it out"));
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn refusals_say_what_to_do_and_quote_nothing() {
    let redis = Redis::start(&[("maxmemory-policy", "noeviction")]);
    let cache = connect(&redis.url()).await;
    let says = |error: Error, what: &str| {
        let text = error.with_causes();
        assert!(is_store(&error) && text.contains(what) && !text.contains("keykey"), "{text}");
    };
    redis.command(&["LPUSH", ":1:keykey", "x"]);
    says(cache.get("keykey").await.unwrap_err(), "two programs use the same prefix");
    says(cache.replace("keykey", b"x", b"y", in_seconds(9)).await.unwrap_err(), "two programs");
    redis.command(&["DEL", ":1:keykey"]);
    cache.add("keykey", b"v", in_seconds(100)).await.unwrap();
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    says(cache.add("keykey2", b"v", in_seconds(9)).await.unwrap_err(), "Redis is full");
    says(cache.replace("keykey", b"v", b"w", in_seconds(9)).await.unwrap_err(), "Redis is full");
    assert_eq!(value(&cache, "keykey").await, text("v"));
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);

    let master = Redis::start(&[]);
    redis.command(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
    says(cache.add("keykey2", b"v", in_seconds(9)).await.unwrap_err(), "is a replica");
    assert!(refused(&redis.url()).await.contains("is a replica"));

    let without_scripts = Redis::start(&[("rename-command", "EVALSHA none")]);
    assert!(refused(&without_scripts.url()).await.contains("lacks a command"));
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn no_more_connections() {
    let redis = Redis::start(&[("maxclients", "1")]);
    let _cache = connect(&redis.url()).await;
    let error = refused(&redis.url()).await;
    assert!(error.contains("takes no more connections"), "{error}");
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn killed_and_started_again() {
    let mut redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    for round in 0..3 {
        let name = format!("a{round}");
        assert!(cache.add(&name, b"v", in_seconds(100)).await.unwrap());
        redis.kill();
        if round != 1 {
            for error in [
                cache.get(&name).await.unwrap_err(),
                cache.add(&name, b"v", in_seconds(9)).await.unwrap_err(),
                cache.replace(&name, b"v", b"w", in_seconds(9)).await.unwrap_err(),
                cache.names("", None).await.unwrap_err(),
                cache.check().await.unwrap_err(),
            ] {
                assert!(is_store(&error) && error.to_string().contains("is away"), "{error}");
            }
        }
        // The first to come notices nothing.
        redis.start_again();
        match round {
            0 => assert_eq!(value(&cache, &name).await, None),
            1 => assert!(cache.add(&name, b"v", in_seconds(100)).await.unwrap()),
            _ => assert!(matches!(
                cache.replace(&name, b"v", b"w", in_seconds(9)).await.unwrap(),
                Replaced::Gone
            )),
        }
    }
    assert!(refused("redis://127.0.0.1:1").await.contains("127.0.0.1:1 is away"));
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn paused() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await.deadline(Duration::from_millis(300));
    cache.add("a", b"v", in_seconds(100)).await.unwrap();
    redis.pause();
    for _ in 0..3 {
        let error = cache.get("a").await.unwrap_err();
        assert!(is_store(&error) && error.to_string().contains("did not answer within 300ms"), "{error}");
    }
    let error = RedisCache::connect(&format!("{}?deadline=0.2", redis.url())).await.unwrap_err();
    assert!(error.to_string().contains("within 200ms"), "{error}");
    redis.resume();
    assert_eq!(value(&cache, "a").await, text("v"));
}

/// A server that answers whatever it is asked with this, for ever if asked to.
fn nonsense(answer: &'static [u8], again: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                    while stream.write_all(answer).is_ok() && again {}
                }
            });
        }
    });
    format!("redis://127.0.0.1:{port}?deadline=1")
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn nonsense_is_an_error() {
    static LINES: [u8; 1 << 20] = [b'a'; 1 << 20];
    for (answer, again) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], false),
        (b"", false),
        (b"\r\n", false),
        (b"*1000000000\r\n", false),
        (b"*9223372036854775807\r\n", false),
        (b"$9223372036854775807\r\n", false),
        (b"%-1\r\n", false),
        (b"$-2\r\n", false),
        (b":99999999999999999999\r\n", false),
        (b"-\xff\xfe\r\n", false),
        (b"-secret of somebody\r\n", false),
        (b"+\r\n", true),
        (b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", true),
        (b"*1\r\n", true),
        (b"$5\r\n", true),
        (&LINES, true),
        (b"+secret\r\n", false),
    ] {
        let url = nonsense(answer, again);
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(40)]).into_owned();
        for url in [url.clone(), url.replace("redis:", "redis+cluster:")] {
            match RedisCache::connect(&url).await {
                Err(error) => assert!(is_store(&error), "{shown}: {}", error.with_causes()),
                Ok(cache) => {
                    let error = cache.get("a").await.unwrap_err();
                    assert!(is_store(&error), "{shown}: {}", error.with_causes());
                }
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn an_answer_that_was_lost() {
    let redis = Redis::start(&[]);
    // A proxy that cuts the connection when it has passed on a command, before the answer.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, to) = (listener.local_addr().unwrap().port(), redis.port());
    let cut = std::sync::Arc::new(std::sync::Mutex::new(None::<&'static str>));
    let seen = cut.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) =
                (client.unwrap(), std::net::TcpStream::connect(("127.0.0.1", to)).unwrap());
            let cut = seen.clone();
            std::thread::spawn(move || {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(read @ 1..) = client.read(&mut bytes) {
                    server.write_all(&bytes[..read]).unwrap();
                    let asked = String::from_utf8_lossy(&bytes[..read]).into_owned();
                    let answered = server.read(&mut bytes).unwrap();
                    let mut cut = cut.lock().unwrap();
                    // Only what was carried out: not what the server does not know yet.
                    if cut.is_some_and(|word| asked.contains(word)) && !bytes.starts_with(b"-NOSCRIPT") {
                        *cut = None;
                        return;
                    }
                    client.write_all(&bytes[..answered]).unwrap();
                }
            });
        }
    });
    let cache = connect(&format!("redis://127.0.0.1:{port}")).await;
    let lose = |word| *cut.lock().unwrap() = Some(word);
    let lost = || cut.lock().unwrap().is_none();
    let soon = in_seconds(100);

    lose("NX");
    assert!(cache.add("a", b"1", soon).await.unwrap() && lost());
    lose("NX");
    assert!(!cache.add("a", b"2", soon).await.unwrap() && lost());
    lose("EVAL");
    assert!(matches!(cache.replace("a", b"1", b"2", soon).await.unwrap(), Replaced::Done) && lost());
    lose("EVAL");
    assert!(matches!(cache.replace("a", b"1", b"3", soon).await.unwrap(), Replaced::Changed(_)) && lost());
    lose("EVAL");
    assert!(matches!(cache.rename("a", b"2", "b", b"3", soon).await.unwrap(), Replaced::Done) && lost());
    lose("EVAL");
    assert!(matches!(cache.rename("a", b"2", "b", b"4", soon).await.unwrap(), Replaced::Gone) && lost());
    lose("GET");
    assert!(value(&cache, "b").await == text("3") && lost());
    lose("EVAL");
    let over = SystemTime::UNIX_EPOCH;
    assert!(matches!(cache.replace("b", b"3", b"5", over).await.unwrap(), Replaced::Done) && lost());
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
    assert_eq!(redis.command(&["GET", ":1:a"]), Reply::Text(b"v".to_vec()));

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
        let error = RedisCache::connect(&format!("rediss://127.0.0.1?ca={file}")).await.unwrap_err();
        assert!(error.to_string().contains("certificates in PEM form"), "{error}");
    }

    let cluster = RedisCluster::start_tls(&right);
    let first = cluster.masters[0].tls_port();
    let cache = connect(&format!("rediss+cluster://127.0.0.1:{first}?ca={}", right.ca().display())).await;
    for n in 0..20 {
        assert!(cache.add(&n.to_string(), b"v", in_seconds(100)).await.unwrap());
    }
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
    expected.sort();
    assert_eq!(all_names(&cache, "s.").await.unwrap(), expected);

    let slots: Vec<_> = ["s.1", "s.2", "{s}1", "{s}2", "{}s", "a{s}{b}"]
        .map(|name| (name, cluster.keyslot(&format!(":1:{name}"))))
        .to_vec();
    for (name, slot) in &slots {
        for (other, other_slot) in &slots {
            assert_eq!(cache.is_near(name, other), slot == other_slot, "{name} {other}");
        }
    }
    cache.add("{s}1", b"v", in_seconds(100)).await.unwrap();
    assert!(matches!(cache.rename("{s}1", b"v", "{s}2", b"w", in_seconds(9)).await.unwrap(), Replaced::Done));
    assert_eq!(value(&cache, "a{s}{b}").await, None);
    let error = cache.rename("s.1", b"v", "s.2", b"w", in_seconds(9)).await.unwrap_err();
    assert!(error.to_string().contains("different slots"), "{error}");

    let of =
        |n: usize| expected.iter().find(|name| cluster.owner(&format!(":1:{name}")) == n).unwrap().clone();
    let (first, second) = (of(0), of(1));
    cluster.kill(0);
    let error = cache.get(&first).await.unwrap_err();
    assert!(is_store(&error), "{error}");
    for name in &expected {
        if cluster.owner(&format!(":1:{name}")) != 0 {
            assert_eq!(value(&cache, name).await, text("v"));
        }
    }
    assert!(is_store(&cache.add(&first, b"v", in_seconds(9)).await.unwrap_err()));
    assert!(is_store(&cache.check().await.unwrap_err()));
    // The names of the others alone would be mistaken for all.
    assert!(is_store(&all_names(&cache, "s.").await.unwrap_err()));
    cluster.masters[0].start_again();
    until_ok("its keys are served again", async || cache.add(&first, b"v", in_seconds(100)).await).await;
    assert_eq!((value(&cache, &first).await, value(&cache, &second).await), (text("v"), text("v")));

    // One that hangs holds nobody up who wants another.
    let cache = cache.deadline(Duration::from_secs(2));
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
    let cursor = cache.names("", None).await.unwrap().1;
    let [from_id, to_id] = [from, to].map(|node| node.command(&["CLUSTER", "MYID"]).text());
    to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    let to_port = to.port().to_string();
    let migrate = |name: &str| {
        from.command(&["MIGRATE", "127.0.0.1", &to_port, &format!(":1:{name}"), "0", "5000"]);
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
    assert!(matches!(rename.await.unwrap().unwrap(), Replaced::Taken));

    for node in [to, from] {
        node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    assert_eq!(value(&cache, names[0]).await, text("w"));
    assert!(matches!(
        cache.rename(names[0], b"w", "{t}3", b"x", in_seconds(100)).await.unwrap(),
        Replaced::Done
    ));
    let error = cache.names("", cursor.as_deref()).await.unwrap_err();
    assert!(error.to_string().contains("begin again"), "{error}");
    assert_eq!(all_names(&cache, "").await.unwrap(), ["{t}3", "{t}gone", "{t}new"]);
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn cluster_with_replicas() {
    let mut cluster = RedisCluster::start_with_replicas();
    let cache = connect(&cluster.url()).await.deadline(Duration::from_secs(1));
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
    assert_eq!(all.master.command(&["GET", ":1:a"]), Reply::Text(b"v".to_vec()));
    assert!(refused(&all.url().replace("/main", "/other")).await.contains("no master"));
    // A sentinel that is away is passed by.
    let url = all.url().replacen("127.0.0.1:", "127.0.0.1:1,127.0.0.1:", 1);
    assert_eq!(value(&connect(&url).await, "a").await, text("v"));

    assert_eq!(all.master.command(&["WAIT", "1", "5000"]).int(), 1);
    all.master.kill();
    assert!(is_store(&cache.get("a").await.unwrap_err()));
    until_ok("the replica takes over", async || cache.replace("a", b"v", b"w", in_seconds(1000)).await).await;
    all.wait_for_failover();
    assert_eq!(value(&cache, "a").await, text("w"));
    assert_eq!(all.replica.command(&["GET", ":1:a"]), Reply::Text(b"w".to_vec()));

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
        match all.master.try_command(&["EXISTS", ":1:back"]) {
            Ok(Reply::Int(1)) => Ok(()),
            other => {
                cache.delete("back").await?;
                Err(Error::store(format!("{other:?}")))
            }
        }
    })
    .await;
}
