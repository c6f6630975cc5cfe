//! A site under load whose server is taken away and given back.

use std::{
    thread,
    time::{Duration, Instant},
};

use actix_django_session::{SecretKey, SessionSettings, Store};

use super::SECRET;
use crate::support::{
    at_length,
    http::Client,
    proc::PATIENCE,
    proxy::Proxy,
    site::Site,
    visitors::{Seen, Visitors, check_that_nothing_is_lost},
};

/// The timeout of one operation in these tests, in seconds.
pub(crate) const DEADLINE: u64 = 1;

/// More than a request needs if its load and its save each take all of the deadline, on a busy machine.
const AT_MOST: Duration = Duration::from_millis(2 * 1000 * DEADLINE + 1500);

/// A site, and visitors who write all the time.
pub(crate) struct Outage {
    pub(crate) site: Site,
    pub(crate) visitors: Visitors,
}

impl Outage {
    /// With sessions at this URL, which has a question mark in it.
    pub(crate) fn of(url: String) -> Self {
        let url = format!("{url}&deadline={DEADLINE}");
        let site = Site::start(SessionSettings::default(), async move || {
            Store::connect(&url, SecretKey::new(SECRET)).await.unwrap()
        });
        let visitors = Visitors::come(12, &[site.url("/ops")]);
        visitors.wait_for(100, PATIENCE);
        Self { site, visitors }
    }

    /// While nothing is there that could answer. Requests that need no session are served; the others are
    /// told, in time.
    pub(crate) fn lasts(&self) {
        thread::sleep(Duration::from_millis(200)); // those that were under way are answered
        self.visitors.slowest_from_now();
        let (begin, before) = (Instant::now(), self.visitors.seen());
        let mut passer_by = Client::new();
        let long = Duration::from_secs(if at_length() { 20 } else { 3 });
        while begin.elapsed() < long {
            let start = Instant::now();
            assert_eq!(passer_by.get(&self.site.url("/untouched")).status, 200);
            assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
            thread::sleep(Duration::from_millis(50));
        }
        let seen = self.visitors.seen();
        assert_eq!(seen.confirmed, before.confirmed, "nothing can be saved");
        assert!(seen.failed.get(&503) > before.failed.get(&503), "{seen:?}");
        assert!(seen.slowest < AT_MOST, "somebody waited {:?}", seen.slowest);
    }

    /// From now on the server answers. How long it took until somebody was served.
    pub(crate) fn is_over(&self) -> Duration {
        let took = self.visitors.wait_for(100, PATIENCE);
        println!("back after {took:?}");
        assert!(took < Duration::from_secs(1) + Duration::from_secs(DEADLINE), "back after {took:?}");
        took
    }

    /// The network behind this proxy is slow, then cuts off answers in the middle, swallows all, and is
    /// closed.
    pub(crate) fn of_the_network(&self, proxy: &Proxy) {
        proxy.delay(Duration::from_millis(30));
        self.visitors.wait_for(50, PATIENCE);
        proxy.delay(Duration::ZERO);
        // Nobody knows what became of the statement whose answer was cut off, and all of it is found out.
        let times = if at_length() { 600 } else { 60 };
        for bytes in (0..times).map(|n| n * 7 % 400) {
            proxy.truncate(bytes);
            thread::sleep(Duration::from_millis(20));
        }
        proxy.truncate(1 << 40);
        self.is_over();
        proxy.black_hole(true);
        self.lasts();
        proxy.black_hole(false);
        self.is_over();
        proxy.refuse(true);
        proxy.cut();
        self.lasts();
        proxy.refuse(false);
        self.is_over();
    }

    /// Everything that was confirmed is there.
    pub(crate) fn ends(self, what: &str) -> Seen {
        let seen = self.visitors.seen();
        let sum = check_that_nothing_is_lost(self.visitors.leave(), &self.site.url("/ops"));
        assert!(seen.failed.keys().all(|status| *status == 503), "{what}: {seen:?}");
        println!("{what}: {} confirmed, {sum} there, {:?}", seen.confirmed, seen.failed);
        seen
    }
}
