//! Many writers of one session at once: workers, processes, and a Django site beside them.

mod key_changes;
mod processes;
mod writers;

use std::{collections::BTreeMap, sync::Barrier, thread};

use actix_django_session::{
    SecretKey, SessionSettings,
    codec::{Codec, SessionData},
};
use serde_json::Value;

use crate::support::{http::Client, site::Site, table::Table};

const SECRET: &str = "a secret that all sites know";

/// The results of a program that must succeed.
fn run(client: &mut Client, url: &str, program: &Value) -> Vec<Value> {
    let reply = client.post_json(url, program);
    assert_eq!(reply.status, 200, "{url} {program}: {}", reply.text());
    reply.json()["results"].as_array().unwrap().clone()
}

const THREADS: usize = 16;

/// Two sites on one table, and the table.
struct Sites {
    sites: [Site; 2],
    table: Table,
}

impl Sites {
    fn start(table: Table, settings: &SessionSettings) -> Self {
        let sites = [0, 1].map(|_| {
            let (session, open) = (settings.clone(), table.opener(SECRET));
            Site::start_with(4, session, open)
        });
        Self { sites, table }
    }

    fn urls(&self) -> [String; 2] {
        [0, 1].map(|n| self.sites[n].url("/ops"))
    }

    /// Every row's data, by its key.
    fn rows(&mut self) -> BTreeMap<String, SessionData> {
        let codec = Codec::new(SecretKey::new(SECRET));
        self.table.rows().into_iter().map(|row| (row.key, codec.decode(&row.text).unwrap())).collect()
    }
}

/// Runs `work` on that many threads that start at the same moment.
fn at_once<T: Send>(threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (barrier, work) = (&Barrier::new(threads), &work);
    thread::scope(|scope| {
        let start = |n| {
            scope.spawn(move || {
                barrier.wait();
                work(n)
            })
        };
        let threads: Vec<_> = (0..threads).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}
