//! Refusals, outages, lost replies and servers that are no Redis.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use actix_django_session::Error;

use actix_django_session::backend::{self, Backend, Replaced};

use super::{all_names, connect, in_seconds, is_store, key, refused, stored, text, value};
use crate::support::redis::Redis;

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
    assert_eq!(all_names(&cache).await.unwrap(), ["b"]);
    let other = cache.clone().key_prefix("other");
    let error = other.get("keykeykey").await.unwrap_err();
    assert!(is_store(&error) && error.to_string().contains("NOPERM"), "{error}");
    assert!(!error.with_causes().contains("keykeykey"));

    let open = Redis::start(&[]);
    assert!(refused(&format!("redis://:secret@127.0.0.1:{}", open.port())).await.contains("leave it out"));
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn errors_say_what_to_do_and_quote_no_key() {
    let redis = Redis::start(&[("maxmemory-policy", "noeviction")]);
    let cache = connect(&redis.url()).await;
    let says = |error: Error, what: &str| {
        let text = error.with_causes();
        assert!(is_store(&error) && text.contains(what) && !text.contains("keykey"), "{text}");
    };
    redis.command(&["LPUSH", &*stored("keykey"), "x"]);
    says(cache.get("keykey").await.unwrap_err(), "two programs use the same prefix");
    says(cache.replace("keykey", b"x", b"y", in_seconds(9)).await.unwrap_err(), "two programs");
    redis.command(&["DEL", &*stored("keykey")]);
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
    assert!(refused(&without_scripts.url()).await.contains("lacks a necessary command"));
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
                cache.0.list(None).await.unwrap_err(),
                cache.0.check().await.unwrap_err(),
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
async fn a_hanging_server_times_out() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await.timeout(Duration::from_millis(300));
    cache.add("a", b"v", in_seconds(100)).await.unwrap();
    redis.pause();
    for _ in 0..3 {
        let error = cache.get("a").await.unwrap_err();
        assert!(is_store(&error) && error.to_string().contains("did not answer within 300ms"), "{error}");
    }
    let error = backend::Redis::connect(&format!("{}?deadline=0.2", redis.url())).await.unwrap_err();
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
async fn an_unexpected_reply_is_an_error() {
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
            match backend::Redis::connect(&url).await {
                Err(error) => assert!(is_store(&error), "{shown}: {}", error.with_causes()),
                Ok(cache) => {
                    let error = cache.get(&key("a")).await.unwrap_err();
                    assert!(is_store(&error), "{shown}: {}", error.with_causes());
                }
            }
        }
    }
}
