//! A long run: sites that are visited all the time while what they stand on breaks, one thing after another.
//! They lose nothing, fail only as long as something is broken, and are afterwards what they were before.

mod ground;
mod visited;

use std::{
    env,
    thread::sleep,
    time::{Duration, Instant},
};

use actix_django_session::{SecretKey, SessionSettings, Store};

use crate::support::{at_length, proc::PATIENCE, process, site::Site};
use ground::{FAULTS, Ground};
use visited::Visited;

const SECRET: &str = "a secret";
const SERVES: &str = "soak::sites_recover_from_faults_and_leak_nothing";

/// So many more connections, files or threads than at the beginning are no leak: how many are in use is a
/// matter of chance.
const MORE: usize = 6;

/// So many MiB more are no leak, beside a tenth.
const MORE_MEMORY: f64 = 4.0;

/// How long all of it takes.
fn length() -> Duration {
    let minutes = env::var("TEST_SOAK_MINUTES").ok().map(|text| text.parse().unwrap());
    Duration::from_secs_f64(60.0 * minutes.unwrap_or(if at_length() { 60.0 } else { 0.5 }))
}

/// From one fault to the next, if these take no longer.
fn pause() -> Duration {
    (length() / 60).min(Duration::from_secs(60))
}

/// The timeout of one operation: longer than the database needs on a machine with a busy disk.
fn deadline() -> Duration {
    (pause() / 12).clamp(Duration::from_secs(2), Duration::from_secs(5))
}

#[test]
#[ignore = "needs PostgreSQL and Redis: run tests/run"]
fn sites_recover_from_faults_and_leak_nothing() {
    if let Some(url) = process::asked_to_serve() {
        // The log is shown if the process fails unexpectedly.
        tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::WARN).init();
        let site = Site::start(SessionSettings::default(), async move || {
            Store::connect(&url, SecretKey::new(SECRET)).await.unwrap()
        });
        return process::serve_until_orphaned(site.port(), || ());
    }
    let mut ground = Ground::start();
    let mut sites = ["postgres", "redis", "cached"].map(|name| Visited::open(name, &ground));
    for site in &mut sites {
        site.visitors.wait_for(500, PATIENCE);
        site.measure(&ground);
    }
    let (begin, mut calm) = (Instant::now(), sites.each_ref().map(Visited::answers));
    for fault in FAULTS.iter().cycle() {
        let end = begin.elapsed() + pause();
        (fault.happens)(&mut ground, (pause() / 6).max(Duration::from_secs(1)));
        sleep(Duration::from_secs(1) + deadline()); // so long requests may still fail
        println!("{:>5} s: {}", begin.elapsed().as_secs(), fault.name);
        let after = sites.each_ref().map(Visited::answers);
        for (site, (before, after)) in sites.iter_mut().zip(calm.iter().zip(after)) {
            site.visitors.wait_for(50, PATIENCE);
            site.measure(&ground);
            println!("    {}", site.since(*before));
            site.check(fault, *before, after);
        }
        sleep(end.saturating_sub(begin.elapsed()));
        for (site, after) in sites.iter().zip(after) {
            site.check_that_it_is_over(fault, after);
        }
        calm = sites.each_ref().map(Visited::answers);
        if begin.elapsed() >= length() {
            break;
        }
    }
    println!("{:>5} s: the end", begin.elapsed().as_secs());
    for site in sites {
        println!("    {}", site.since((0, 0)));
        site.check_memory();
        site.close();
    }
}
