//! Visitors who all the time count up a number in their sessions, and remember what they were told.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{http::Client, proc::wait_until};

/// Visitors, each with a session and a thread; they stop when this is dropped.
#[derive(Debug)]
pub struct Visitors {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Visitor>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    seen: Mutex<Seen>,
}

/// The results of all of them so far.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub confirmed: u64,
    /// Answers other than 200, by status; 0 where there was none.
    pub failed: BTreeMap<u16, u64>,
    /// The longest that anybody waited for any answer.
    pub slowest: Duration,
    pub last_confirmed: Option<Instant>,
}

/// The results of one of them.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub client: Client,
    /// The last confirmed number.
    pub confirmed: u64,
    /// Later increments without a confirmation: they may have been carried out.
    pub unsure: u64,
    /// Earlier increments that may have been carried out between the load and the save of the confirmed one.
    /// The next confirmation shows it.
    pub late: u64,
    /// Replies that cannot be right.
    pub wrong: Vec<String>,
}

impl Visitors {
    /// So many, each with a session that exists, at sites that speak the language of `/ops`.
    pub fn come(count: usize, ops: &[String]) -> Self {
        let shared = Arc::new(Shared { stop: false.into(), seen: Mutex::default() });
        let threads = (0..count)
            .map(|n| {
                let (mut client, url, shared) = (Client::new(), ops[n % ops.len()].clone(), shared.clone());
                let reply = client.post_json(&url, &json!([["set", "n", 0]]));
                assert_eq!(reply.status, 200, "{}", reply.text());
                let visitor = Visitor { client, confirmed: 0, unsure: 0, late: 0, wrong: Vec::new() };
                thread::spawn(move || visitor.stay(&url, &shared))
            })
            .collect();
        Self { shared, threads }
    }

    pub fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Forgets how long somebody had to wait so far.
    pub fn slowest_from_now(&self) {
        self.shared.seen.lock().unwrap().slowest = Duration::ZERO;
    }

    /// Waits until so many more increments have been confirmed; how long the first of them took to come.
    pub fn wait_for(&self, more: u64, limit: Duration) -> Duration {
        let (start, before) = (Instant::now(), self.seen().confirmed);
        let mut first = None;
        wait_until("increments should be confirmed", limit, || {
            let confirmed = self.seen().confirmed;
            if confirmed > before {
                first.get_or_insert(start.elapsed());
            }
            confirmed >= before + more
        });
        first.unwrap()
    }

    /// Their observations at the end.
    pub fn leave_and_see(self) -> Seen {
        let shared = self.shared.clone();
        self.leave();
        Arc::try_unwrap(shared).unwrap().seen.into_inner().unwrap()
    }

    pub fn leave(self) -> Vec<Visitor> {
        self.shared.stop.store(true, SeqCst);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

impl Visitor {
    fn stay(mut self, url: &str, shared: &Shared) -> Self {
        let increment = json!([["incr", "n"]]).to_string();
        let json = [("content-type", "application/json")];
        while !shared.stop.load(SeqCst) {
            let start = Instant::now();
            let reply = self.client.try_request("POST", url, &json, Some(increment.as_bytes()));
            let took = start.elapsed();
            let status = reply.as_ref().map_or(0, |reply| reply.status);
            let mut seen = shared.seen.lock().unwrap();
            seen.slowest = seen.slowest.max(took);
            if status == 200 {
                seen.confirmed += 1;
                seen.last_confirmed = Some(Instant::now());
            } else {
                *seen.failed.entry(status).or_default() += 1;
            }
            drop(seen);
            match reply {
                Ok(reply) if reply.status == 200 => {
                    let told = reply.json()["results"][0].as_u64().unwrap_or_default();
                    let most = self.confirmed + 1 + self.unsure + self.late;
                    let may_be = self.confirmed + 1..=most;
                    if !may_be.contains(&told) {
                        self.wrong.push(format!("{told}, not {may_be:?}"));
                    }
                    self.late = if self.unsure > 0 { most.saturating_sub(told) } else { 0 };
                    (self.confirmed, self.unsure) = (told, 0);
                }
                _ => {
                    self.unsure += 1;
                    thread::sleep(Duration::from_millis(20));
                }
            }
        }
        self
    }
}

/// Checks that every confirmed increment is stored, and none that no visitor sent. Returns their number.
pub fn check_that_nothing_is_lost(visitors: Vec<Visitor>, ops: &str) -> u64 {
    let mut sum = 0;
    for mut visitor in visitors {
        assert!(visitor.wrong.is_empty(), "told: {:?}", visitor.wrong);
        let reply = visitor.client.post_json(ops, &json!([["get", "n"]]));
        let there = &reply.json()["results"][0];
        let expected = visitor.confirmed..=visitor.confirmed + visitor.unsure + visitor.late;
        assert!(there.as_u64().is_some_and(|n| expected.contains(&n)), "{there} is there, not {expected:?}");
        sum += there.as_u64().unwrap_or_default();
    }
    sum
}

/// The results of a program that must succeed.
pub fn run(client: &mut Client, url: &str, program: &Value) -> Vec<Value> {
    let reply = client.post_json(url, program);
    assert_eq!(reply.status, 200, "{url} {program}: {}", reply.text());
    reply.json()["results"].as_array().unwrap().clone()
}
