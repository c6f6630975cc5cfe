//! A save whose request or reply is lost between this process and PostgreSQL, with another writer in the gap.

use std::time::{Duration, SystemTime};

use actix_django_session::{SecretKey, Session, SessionKey, SessionSettings, Store};

use crate::support::{
    pgbouncer::PgBouncer,
    postgres::PrivateServer,
    proxy::{Proxy, Side},
};

/// Another writer's action after the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Other {
    Nothing,
    /// Also stores the very bytes of the lost request: both began with the same.
    Increments,
    /// Also stores again the bytes that were there before.
    Decrements,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Work {
    Increments,
    Sets,
    RenamesAndIncrements,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Expires {
    Default,
    Exactly,
    AtATime,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    lost: Side,
    other: Other,
    work: Work,
    expires: Expires,
}

struct Scene {
    proxy: Proxy,
    direct: Store,
    through: Store,
    date: SystemTime,
}

impl Scene {
    async fn new(direct: &str, port: u16, through: impl Fn(u16) -> String, expires: Expires) -> Self {
        let proxy = Proxy::start(port);
        let settings = SessionSettings::default().exact_expiry(expires == Expires::Exactly);
        let connect = async |url: &str| {
            let store = Store::connect(url, SecretKey::new("a secret")).await.unwrap();
            store.with_settings(&settings).unwrap()
        };
        let through = connect(&through(proxy.port())).await;
        let direct = connect(direct).await;
        direct.create_table().await.unwrap();
        Self { proxy, direct, through, date: SystemTime::now() + Duration::from_secs(3600) }
    }

    async fn new_session(&self, expires: Expires) -> SessionKey {
        let session = Session::new(&self.direct);
        session.insert("n", &5).unwrap();
        if expires == Expires::AtATime {
            session.set_expiry(self.date).unwrap();
        }
        session.save().await.unwrap();
        session.session_key().unwrap()
    }

    async fn work(&self, work: Work, key: &SessionKey) -> Session {
        let session = Session::open(&self.through, key).await.unwrap().unwrap();
        match work {
            Work::Sets => session.insert("a", &1).unwrap(),
            _ => drop(session.update("n", |n: Option<i64>| n.unwrap_or(0) + 1).unwrap()),
        }
        if work == Work::RenamesAndIncrements {
            session.cycle_key().unwrap();
        }
        session
    }

    async fn run(&self, case: Case) {
        // The connection has prepared its statements: what is lost is the save itself.
        let warm = self.new_session(case.expires).await;
        self.work(case.work, &warm).await.save().await.unwrap();

        let key = self.new_session(case.expires).await;
        let session = self.work(case.work, &key).await;
        self.proxy.lose(case.lost);
        let other = async {
            self.proxy.lost().await;
            if case.lost == Side::Server {
                // The server has carried it out by now, or does so in a moment.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            let by = match case.other {
                Other::Nothing => 0,
                Other::Increments => 1,
                Other::Decrements => -1,
            };
            let there = Session::open(&self.direct, &key).await.unwrap();
            let confirmed = match there.filter(|_| by != 0) {
                Some(there) => {
                    there.update("n", move |n: Option<i64>| n.unwrap_or(0) + by).unwrap();
                    there.save().await.unwrap();
                    by
                }
                None => 0,
            };
            self.proxy.cut();
            confirmed
        };
        let (saved, by_other) = futures_util::future::join(session.save(), other).await;
        let now = match session.session_key() {
            Some(new) if saved.is_ok() => new,
            _ => key,
        };
        let stored = Session::open(&self.direct, &now).await.unwrap().unwrap();
        let n: i64 = stored.get("n").unwrap().unwrap();
        match (&saved, case.work) {
            (Ok(()), Work::Sets) => {
                assert_eq!((n, stored.get("a").unwrap()), (5 + by_other, Some(1)), "{case:?}");
            }
            (Ok(()), _) => assert_eq!(n, 6 + by_other, "{case:?}"),
            (Err(error), Work::Increments) => {
                assert!(error.is_in_doubt(), "{case:?}: {error}");
                let applied = i64::from(case.lost == Side::Server);
                assert_eq!(n, 5 + by_other + applied, "{case:?}");
            }
            (Err(error), _) => panic!("{case:?}: {error}"),
        }
        assert_eq!(saved.is_err(), case.work == Work::Increments, "{case:?}: {saved:?}");
    }
}

/// Returns how many cases there were.
async fn every_case(direct: &str, port: u16, through: impl Fn(u16) -> String) -> usize {
    let mut count = 0;
    for expires in [Expires::Default, Expires::Exactly, Expires::AtATime] {
        let scene = Scene::new(direct, port, &through, expires).await;
        for lost in [Side::Client, Side::Server] {
            for other in [Other::Nothing, Other::Increments, Other::Decrements] {
                for work in [Work::Increments, Work::Sets, Work::RenamesAndIncrements] {
                    scene.run(Case { lost, other, work, expires }).await;
                    count += 1;
                }
            }
        }
    }
    count
}

#[actix_web::test]
#[ignore = "needs PostgreSQL: run tests/run"]
async fn a_lost_request_or_reply_is_never_counted_twice() {
    let server = PrivateServer::start(&[]);
    let url = server.url();
    let through = |port: u16| url.replace(&server.port().to_string(), &port.to_string());
    assert_eq!(every_case(&url, server.port(), through).await, 54);
}

#[actix_web::test]
#[ignore = "needs PostgreSQL and PgBouncer: run tests/run"]
async fn a_lost_request_or_reply_is_never_counted_twice_before_pgbouncer() {
    let server = PrivateServer::start(&[]);
    let pooler = PgBouncer::start(server.port(), &[]);
    let port: u16 = pooler.url().rsplit_once(':').unwrap().1.split_once('/').unwrap().0.parse().unwrap();
    let through = |port: u16| format!("postgres://postgres@127.0.0.1:{port}/postgres?pgbouncer=true");
    assert_eq!(every_case(&server.url(), port, through).await, 54);
}
