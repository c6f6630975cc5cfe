//! Calls whose request or reply is lost: a change is made at most once, and the result tells what is known.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use actix_django_session::{
    SecretKey, Session, Store,
    backend::{self, Backend as _, Insert, Inserted, Replaced, Row},
};

use super::{Cache, connect, in_seconds, key, stored, text, value};
use crate::support::{certificates::Certificates, redis::Redis};

/// The fate of the next command that contains a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The connection breaks before the server gets it.
    RequestLost,
    /// The connection breaks when the server has got half of it.
    CutBetween,
    /// The connection breaks before the client gets the reply.
    ReplyLost,
    /// The server gets it, and nobody answers.
    Silence,
}

const FAULTS: [Fault; 4] = [Fault::RequestLost, Fault::CutBetween, Fault::ReplyLost, Fault::Silence];

/// Another client's action after the fault, before this one learns of it.
type Meanwhile = Box<dyn FnOnce() + Send>;

type Armed = Arc<Mutex<Option<(&'static str, Fault, Meanwhile)>>>;

/// Something between the backend and Redis that loses one command. The backend sends one at a time.
struct Interceptor {
    port: u16,
    armed: Armed,
}

impl Interceptor {
    fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, armed) = (listener.local_addr().unwrap().port(), Armed::default());
        let shared = armed.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let armed = shared.clone();
                thread::spawn(move || serve(client, server, &armed));
            }
        });
        Self { port, armed }
    }

    async fn connect(&self) -> Cache {
        connect(&format!("redis://127.0.0.1:{}", self.port)).await.timeout(Duration::from_millis(500))
    }

    fn next(&self, word: &'static str, fault: Fault, meanwhile: impl FnOnce() + Send + 'static) {
        *self.armed.lock().unwrap() = Some((word, fault, Box::new(meanwhile)));
    }

    fn has_happened(&self) -> bool {
        self.armed.lock().unwrap().is_none()
    }
}

fn serve(mut client: TcpStream, mut server: TcpStream, armed: &Armed) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = client.read(&mut bytes) {
        let command = bytes[..length].to_vec();
        let said = String::from_utf8_lossy(&command).into_owned();
        let fault = armed.lock().unwrap().take_if(|(word, ..)| said.contains(*word));
        let reached = match fault {
            Some((_, Fault::RequestLost, _)) => 0,
            Some((_, Fault::CutBetween, _)) => length / 2,
            _ => length,
        };
        server.write_all(&command[..reached]).unwrap();
        let replied = if reached == length { server.read(&mut bytes).unwrap_or(0) } else { 0 };
        match fault {
            // The server does not know the script yet: the fault meets the one that it executes.
            Some(fault) if bytes[..replied].starts_with(b"-NOSCRIPT") => *armed.lock().unwrap() = Some(fault),
            Some((_, fault, meanwhile)) => {
                meanwhile();
                if fault == Fault::Silence {
                    while let Ok(1..) = client.read(&mut bytes) {}
                }
                break;
            }
            None => {}
        }
        client.write_all(&bytes[..replied]).unwrap();
    }
    for stream in [client, server] {
        stream.shutdown(Shutdown::Both).ok();
    }
}

/// Another client's action in the gap: sets the value, or deletes it.
const OTHERS: [(&str, Option<Option<&str>>); 5] = [
    ("nobody", None),
    ("one that stores the same bytes", Some(Some("new"))),
    ("one that stores the expected bytes again", Some(Some("old"))),
    ("one that stores others", Some(Some("other"))),
    ("one that deletes", Some(None)),
];

fn other(redis: u16, name: &str, action: Option<Option<&'static str>>) -> impl FnOnce() + Send + 'static {
    let name = stored(name);
    move || {
        let command: Vec<&str> = match action {
            None => return,
            Some(Some(value)) => vec!["SET", &name, value, "PX", "100000"],
            Some(None) => vec!["DEL", &name],
        };
        crate::support::redis::command(redis, None, &command).unwrap();
    }
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn a_change_in_doubt_is_unknown_and_never_made_twice() {
    let redis = Redis::start(&[]);
    let interceptor = Interceptor::start(redis.port());
    let cache = interceptor.connect().await;
    for fault in FAULTS {
        for (who, action) in OTHERS {
            for renames in [false, true] {
                let what = format!("{fault:?}, {who}, renames: {renames}");
                redis.command(&["FLUSHDB"]);
                cache.add("a", b"old", in_seconds(100)).await.unwrap();
                interceptor.next("EVAL", fault, other(redis.port(), "a", action));
                let replaced = if renames {
                    cache.rename("a", b"old", "b", b"new", in_seconds(100)).await.unwrap()
                } else {
                    cache.replace("a", b"old", b"new", in_seconds(100)).await.unwrap()
                };
                assert!(interceptor.has_happened(), "{what}");
                assert_eq!(replaced, Replaced::Unknown, "{what}");

                // The row as the fault and the other client left it. Nothing came later.
                let applied = matches!(fault, Fault::ReplyLost | Fault::Silence);
                let (mut a, b) = match (applied, renames) {
                    (false, _) => (text("old"), None),
                    (true, false) => (text("new"), None),
                    (true, true) => (None, text("new")),
                };
                if let Some(value) = action {
                    a = value.map(str::to_owned);
                }
                assert_eq!((value(&cache, "a").await, value(&cache, "b").await), (a, b), "{what}");
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn inserts_touches_deletes_and_reads_are_repeated() {
    let redis = Redis::start(&[]);
    let interceptor = Interceptor::start(redis.port());
    let cache = interceptor.connect().await;
    let over = SystemTime::UNIX_EPOCH;
    for fault in [Fault::RequestLost, Fault::CutBetween, Fault::ReplyLost] {
        let next = |word, action| interceptor.next(word, fault, other(redis.port(), "a", action));
        redis.command(&["FLUSHDB"]);

        next("NX", None);
        assert!(cache.add("a", b"1", in_seconds(100)).await.unwrap(), "{fault:?}");
        next("NX", None);
        assert!(!cache.add("a", b"2", in_seconds(100)).await.unwrap(), "{fault:?}: taken before");
        redis.command(&["DEL", &stored("a")]);
        next("NX", Some(Some("other")));
        assert!(!cache.add("a", b"2", in_seconds(100)).await.unwrap(), "{fault:?}: taken meanwhile");

        next("GET", None);
        assert_eq!(value(&cache, "a").await, text("other"), "{fault:?}");
        next("EVAL", None);
        let touched = cache.touch("a", b"other", in_seconds(1000)).await.unwrap();
        assert_eq!(touched, Replaced::Done, "{fault:?}");
        next("EVAL", Some(Some("newer")));
        match cache.touch("a", b"other", in_seconds(1000)).await.unwrap() {
            Replaced::Conflict(Row { value, .. }) => assert_eq!(value.as_deref(), Some(&b"newer"[..])),
            result => panic!("{fault:?}: {result:?}"),
        }
        next("EVAL", None);
        assert_eq!(cache.touch("a", b"newer", over).await.unwrap(), Replaced::Done, "{fault:?}: expires");

        cache.add("a", b"1", in_seconds(100)).await.unwrap();
        next("DEL", None);
        cache.delete("a").await.unwrap();
        assert_eq!(value(&cache, "a").await, None, "{fault:?}");
        assert!(interceptor.has_happened());
    }
    // A touch that nobody answers, too, may have been made.
    cache.add("a", b"1", in_seconds(100)).await.unwrap();
    interceptor.next("EVAL", Fault::Silence, || ());
    assert_eq!(cache.touch("a", b"1", over).await.unwrap(), Replaced::Unknown);
    assert_eq!(value(&cache, "a").await, None);
}

/// Replies that say that nothing was done are errors, and no doubt.
#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn a_refusal_or_an_outage_is_an_error_that_changed_nothing() {
    let mut redis = Redis::start(&[("maxmemory-policy", "noeviction")]);
    let cache = connect(&redis.url()).await;
    cache.add("a", b"1", in_seconds(100)).await.unwrap();
    redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(cache.replace("a", b"1", b"2", in_seconds(100)).await.unwrap_err().is_store());
    assert_eq!(value(&cache, "a").await, text("1"));
    redis.kill();
    assert!(cache.replace("a", b"1", b"2", in_seconds(100)).await.unwrap_err().is_store());
}

/// The runtime has not yet noticed that these connections are closed.
#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn a_connection_that_was_closed_while_idle_leaves_no_doubt() {
    let redis = Redis::start(&[]);
    let socket = format!("redis+unix://{}", redis.socket().display());
    for url in [redis.url(), socket] {
        let cache = connect(&url).await;
        redis.command(&["FLUSHDB"]);
        cache.add("a", b"0", in_seconds(100)).await.unwrap();
        for round in 0..20 {
            redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            let (old, new) = (round.to_string(), (round + 1).to_string());
            let replaced = cache.replace("a", old.as_bytes(), new.as_bytes(), in_seconds(100)).await;
            assert_eq!(replaced.unwrap(), Replaced::Done, "{url}, round {round}");
        }
    }
}

#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn a_tls_connection_that_was_closed_while_idle_is_replaced() {
    let certificates = Certificates::new(&["127.0.0.1"]);
    let redis = Redis::start_tls(&certificates, &[]);
    let ca = certificates.path("ca.pem");
    let cache = connect(&format!("rediss://127.0.0.1:{}?ca={}", redis.tls_port(), ca.display())).await;
    cache.add("a", b"1", in_seconds(100)).await.unwrap();
    redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(cache.replace("a", b"1", b"2", in_seconds(100)).await.unwrap(), Replaced::Done);
}

/// A visitor's counter, whose save is in doubt while another request counts too.
#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn an_increment_in_doubt_is_confirmed_at_most_once() {
    let redis = Redis::start(&[]);
    let interceptor = Interceptor::start(redis.port());
    let cache = interceptor.connect().await;
    let store = Store::new(cache.0, SecretKey::new("a secret"));
    let others = Store::new(backend::Redis::connect(&redis.url()).await.unwrap(), SecretKey::new("a secret"));
    let increment = async |store: &Store, key: &_| {
        let session = Session::open(store, key).await.unwrap().unwrap();
        session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
        session.save().await
    };
    for fault in FAULTS {
        for beside in [false, true] {
            let session = Session::new(&others);
            session.insert("n", &0).unwrap();
            session.save().await.unwrap();
            let key = session.session_key().unwrap();
            let (others, name) = (others.clone(), key.clone());
            let (mut confirmed, mut doubtful) = (u32::from(beside), 0);
            interceptor.next("EVAL", fault, move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                if beside {
                    runtime.block_on(increment(&others, &name)).unwrap();
                }
            });
            match increment(&store, &key).await {
                Ok(()) => confirmed += 1,
                Err(error) => {
                    assert!(error.is_store(), "{error}");
                    doubtful += 1;
                }
            }
            assert!(interceptor.has_happened());
            let n: u32 = Session::open(&store, &key).await.unwrap().unwrap().get("n").unwrap().unwrap();
            assert!((confirmed..=confirmed + doubtful).contains(&n), "{fault:?}, {beside}: {n}, {confirmed}");
        }
    }
}

/// A key that another session got meanwhile is not ours, whatever it holds.
#[tokio::test]
#[ignore = "needs Redis: run tests/run"]
async fn an_insert_whose_key_is_taken_says_so() {
    let redis = Redis::start(&[]);
    let cache = connect(&redis.url()).await;
    let insert = async |value: &'static str| {
        cache.0.insert(Insert::new(&key("a"), value, in_seconds(100))).await.unwrap()
    };
    assert_eq!(insert("1").await, Inserted::Done);
    assert_eq!(insert("1").await, Inserted::KeyTaken);
}
