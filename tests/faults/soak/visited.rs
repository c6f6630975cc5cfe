//! A site with its visitors, and what it takes of the machine.

use std::{
    fmt, fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{
    MORE, MORE_MEMORY, SERVES,
    ground::{Fault, Ground},
};
use crate::support::{
    http::Client,
    proc::{PATIENCE, status_of},
    process::Process,
    visitors::{Seen, Visitors, check_that_nothing_is_lost},
};

/// Begin a session, have it renamed, and end it, again and again.
struct Guests {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

impl Guests {
    fn come(count: usize, ops: &str) -> Self {
        let (stop, seen) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Seen>>::default());
        let guest = |_| {
            let (ops, stop, seen) = (ops.to_owned(), stop.clone(), seen.clone());
            thread::spawn(move || {
                while !stop.load(SeqCst) {
                    Self::visit(&ops, &seen);
                }
            })
        };
        Self { threads: (0..count).map(guest).collect(), stop, seen }
    }

    fn visit(ops: &str, seen: &Mutex<Seen>) {
        let mut client = Client::new();
        let json = [("content-type", "application/json")];
        for (step, expected) in [
            (json!([["set", "n", 1]]), json!([null])),
            (json!([["cycle_key"], ["get", "n"]]), json!([null, 1])),
            (json!([["get", "n"], ["flush"]]), json!([1, null])),
        ] {
            let reply = client.try_request("POST", ops, &json, Some(step.to_string().as_bytes()));
            let status = reply.as_ref().map_or(0, |reply| reply.status);
            if status != 200 {
                *seen.lock().unwrap().failed.entry(status).or_default() += 1;
                return sleep(Duration::from_millis(20));
            }
            assert_eq!(reply.unwrap().json()["results"], expected, "{step}");
            seen.lock().unwrap().confirmed += 1;
        }
    }

    fn leave(self) {
        self.stop.store(true, SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// The resources of a process that must not leak.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figures {
    connections: usize,
    files: usize,
    threads: usize,
    /// In MiB.
    memory: f64,
}

/// Requests that were served, and those that failed with 503.
type Answers = (u64, u64);

/// A site in its own process, with its visitors.
pub(crate) struct Visited {
    name: &'static str,
    process: Process,
    pub(crate) visitors: Visitors,
    guests: Guests,
    figures: Vec<Figures>,
}

impl Visited {
    pub(crate) fn open(name: &'static str, ground: &Ground) -> Self {
        let process = Process::start(SERVES, &ground.url(name));
        let ops = process.url("/ops");
        let visitors = Visitors::come(2, std::slice::from_ref(&ops));
        Self { name, visitors, guests: Guests::come(1, &ops), process, figures: Vec::new() }
    }

    /// Nothing but 200 and 503 may come.
    pub(crate) fn answers(&self) -> Answers {
        let (visitors, guests) = (self.visitors.seen(), self.guests.seen.lock().unwrap().clone());
        let mut busy = 0;
        for (status, count) in visitors.failed.iter().chain(&guests.failed) {
            assert_eq!(*status, 503, "{}: {visitors:?}, {guests:?}\n{}", self.name, self.process.log());
            busy += count;
        }
        (visitors.confirmed + guests.confirmed, busy)
    }

    /// Also waits until there is no more of anything than at the beginning, if it comes to that.
    pub(crate) fn measure(&mut self, ground: &Ground) {
        let start = Instant::now();
        let mut figures = self.figures_now(ground);
        while self.figures.first().is_some_and(|first| figures.exceed(first))
            && start.elapsed() < PATIENCE / 4
        {
            figures = self.figures_now(ground);
        }
        self.figures.push(figures);
    }

    fn figures_now(&self, ground: &Ground) -> Figures {
        let id = self.process.id();
        // Visitors come and go: what is always there counts.
        let files = || {
            sleep(Duration::from_millis(10));
            fs::read_dir(format!("/proc/{id}/fd")).unwrap().count()
        };
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}'", self.name);
        Figures {
            connections: ground.server.query(&count)[0][0].as_ref().unwrap().parse().unwrap(),
            files: (0..20).map(|_| files()).min().unwrap(),
            threads: status_of(id, "Threads:") as usize,
            memory: status_of(id, "VmRSS:") as f64 / 1024.0,
        }
    }

    /// The responses since `before`, and the current figures.
    pub(crate) fn since(&self, before: Answers) -> String {
        let (now, figures) = (self.answers(), self.figures[self.figures.len() - 1]);
        format!("{}: {} served, {} times 503; {figures}", self.name, now.0 - before.0, now.1 - before.1)
    }

    /// With the answers from before the fault, and from when all had been back for a while.
    pub(crate) fn check(&self, fault: &Fault, before: Answers, after: Answers) {
        let (fault, hits, name) = (fault.name, fault.hits.contains(&self.name), self.name);
        assert!(hits || after.1 == before.1, "{fault}: {name} should not notice\n{}", self.process.log());
        let (first, last) = (&self.figures[0], &self.figures[self.figures.len() - 1]);
        assert!(!last.exceed(first), "{fault}: {name} has {last}, and had {first}");
    }

    pub(crate) fn check_that_it_is_over(&self, fault: &Fault, after: Answers) {
        let (fault, name, now) = (fault.name, self.name, self.answers());
        assert_eq!(now.1, after.1, "{fault}: {name} fails when it is over\n{}", self.process.log());
    }

    /// In the last third it is what it was in the second: in the first one everything is used for the first
    /// time.
    pub(crate) fn check_memory(&self) {
        let third = self.figures.len() / 3;
        let mean = |part: &[Figures]| part.iter().map(|all| all.memory).sum::<f64>() / part.len() as f64;
        let (second, last) = (mean(&self.figures[third..2 * third]), mean(&self.figures[2 * third..]));
        println!("    {}: {second:.1} MiB in the second third, {last:.1} MiB in the last", self.name);
        assert!(
            last <= second * 1.1 + MORE_MEMORY,
            "{} takes more and more memory: {second:.1}, then {last:.1} MiB",
            self.name
        );
    }

    /// All leave, and find what they were told.
    pub(crate) fn close(self) {
        self.guests.leave();
        let there = check_that_nothing_is_lost(self.visitors.leave(), &self.process.url("/ops"));
        println!("    {}: {there} increments, no confirmed one is missing", self.name);
    }
}

impl Figures {
    /// By more than chance.
    fn exceed(&self, first: &Self) -> bool {
        self.connections > first.connections + MORE
            || self.files > first.files + MORE
            || self.threads > first.threads + MORE
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { connections, files, threads, memory } = self;
        write!(f, "{connections} connections, {files} files, {threads} threads, {memory:.1} MiB")
    }
}
