//! The servers below the sites, and the faults injected into them.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use actix_django_session::{SecretKey, Store};

use super::{SECRET, deadline};
use crate::support::{
    postgres::{PrivateServer, try_query},
    proc::{PATIENCE, wait_until},
    proxy::Proxy,
    redis::Redis,
};

/// The servers that all sites share, and the proxies to them.
pub(crate) struct Ground {
    pub(crate) server: PrivateServer,
    to_server: Proxy,
    redis: Redis,
    to_redis: Proxy,
}

/// A fault that lasts for about the given time and is repaired at the end.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    /// The sites that may notice.
    pub(crate) hits: &'static [&'static str],
    pub(crate) happens: fn(&mut Ground, Duration),
}

const ON_POSTGRES: &[&str] = &["postgres", "cached"];
const ON_REDIS: &[&str] = &["redis"];

/// The short form gets as far as it gets.
pub(crate) const FAULTS: [Fault; 10] = [
    Fault { name: "PostgreSQL stopped", hits: ON_POSTGRES, happens: Ground::stop },
    Fault { name: "Redis killed", hits: ON_REDIS, happens: Ground::kill_redis },
    Fault { name: "connections cut one by one", hits: ON_POSTGRES, happens: Ground::cut_one_by_one },
    Fault { name: "PostgreSQL hangs", hits: ON_POSTGRES, happens: Ground::pause },
    Fault { name: "expired sessions cleared", hits: &[], happens: Ground::clear },
    Fault { name: "PostgreSQL killed", hits: ON_POSTGRES, happens: Ground::kill },
    Fault { name: "a bad network", hits: &["postgres", "cached", "redis"], happens: Ground::disturb },
    Fault { name: "Redis hangs", hits: ON_REDIS, happens: Ground::pause_redis },
    Fault { name: "connections refused", hits: ON_POSTGRES, happens: Ground::refuse },
    Fault { name: "a black hole", hits: ON_POSTGRES, happens: Ground::swallow },
];

/// Nobody is answered any more.
fn longer_than_patience(time: Duration) -> Duration {
    time.max(deadline() * 5 / 4)
}

impl Ground {
    pub(crate) fn start() -> Self {
        let server = PrivateServer::with_table(&[]); // everything is on the disk before it is confirmed
        server.query("CREATE INDEX ON django_session (expire_date)");
        let redis = Redis::start(&[("appendonly", "yes"), ("appendfsync", "always")]);
        let (to_server, to_redis) = (Proxy::start(server.port()), Proxy::start(redis.port()));
        Self { server, to_server, redis, to_redis }
    }

    pub(crate) fn url(&self, site: &str) -> String {
        let seconds = deadline().as_secs_f64();
        let redis = format!("redis://127.0.0.1:{}/0?prefix={site}", self.to_redis.port());
        let postgres = format!(
            "postgres://postgres@127.0.0.1:{}/postgres?application_name={site}&deadline={seconds}",
            self.to_server.port()
        );
        match site {
            "postgres" => postgres,
            "redis" => format!("{redis}&deadline={seconds}"),
            _ => format!("cached:{redis} {postgres}"),
        }
    }

    fn stop(&mut self, time: Duration) {
        self.server.stop_fast();
        sleep(time);
        self.server.start_again();
    }

    fn kill(&mut self, time: Duration) {
        self.server.kill();
        sleep(time);
        self.server.start_again();
    }

    fn pause(&mut self, time: Duration) {
        self.server.pause();
        sleep(longer_than_patience(time));
        self.server.resume();
    }

    fn cut_one_by_one(&mut self, time: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < time {
            self.server.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE application_name IN ('postgres', 'cached') ORDER BY random() LIMIT 1",
            );
            sleep(Duration::from_millis(25));
        }
    }

    fn refuse(&mut self, time: Duration) {
        let rules = self.server.replace_rules("local all all trust\nhost all all 127.0.0.1/32 reject\n");
        // Open connections would survive the new rules.
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name IN ('postgres', 'cached')";
        try_query(&self.server.socket_url(), cut).unwrap();
        sleep(time);
        drop(rules);
    }

    fn swallow(&mut self, time: Duration) {
        self.to_server.black_hole(true);
        sleep(longer_than_patience(time));
        self.to_server.black_hole(false);
    }

    fn disturb(&mut self, time: Duration) {
        let each = |proxies: &Self, change: &dyn Fn(&Proxy)| {
            change(&proxies.to_server);
            change(&proxies.to_redis);
        };
        each(self, &|proxy| proxy.delay(Duration::from_millis(30)));
        sleep(time / 3);
        each(self, &|proxy| proxy.delay(Duration::ZERO));
        let begin = Instant::now();
        for bytes in (0..).map(|n| n * 7 % 400).take_while(|_| begin.elapsed() < time / 3) {
            each(self, &|proxy| proxy.truncate(bytes));
            sleep(Duration::from_millis(20));
        }
        each(self, &|proxy| proxy.truncate(1 << 40));
        each(self, &|proxy| proxy.refuse(true));
        each(self, &Proxy::cut);
        sleep(time / 3);
        each(self, &|proxy| proxy.refuse(false));
    }

    fn kill_redis(&mut self, time: Duration) {
        self.redis.kill();
        sleep(time);
        self.redis.start_again();
        wait_until("Redis should have read its file", PATIENCE, || {
            self.redis.info("loading", &["INFO", "persistence"]) == "0"
        });
    }

    fn pause_redis(&mut self, time: Duration) {
        self.redis.pause();
        sleep(longer_than_patience(time));
        self.redis.resume();
    }

    fn clear(&mut self, _: Duration) {
        self.server.query(
            "INSERT INTO django_session \
             SELECT 'expired' || n, 'anything', now() - interval '1 day' FROM generate_series(1, 5000) n",
        );
        let cleared = tokio::runtime::Runtime::new().unwrap().block_on(async {
            let store = Store::connect(&self.server.url(), SecretKey::new(SECRET)).await.unwrap();
            store.clear_expired().await.unwrap()
        });
        assert_eq!(cleared, 5000);
    }
}
