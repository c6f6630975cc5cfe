//! Writers of a session whose key is cycled or which is flushed.

use actix_django_session::SessionSettings;
use serde_json::{Value, json};

use super::{Sites, at_once, run};
use crate::support::{
    http::{Client, Reply},
    table::Table,
};

const ROUNDS: usize = 12;

/// The outcomes of the writes that raced with a flush or a key change.
#[derive(Debug, Default)]
struct Writes {
    /// Stored before the change.
    stored: usize,
    /// Answered with 400.
    refused: usize,
    /// So late that they created another session.
    began: usize,
    /// Had nothing to store, and were answered 200.
    nothing: usize,
}

impl Writes {
    fn assert_all_kinds(&self) {
        assert!(self.stored > 0 && self.refused > 0 && self.began > 0, "this was no race: {self:?}");
    }
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn cycle_key_and_writers_in_postgres() {
    cycle_key_and_writers(Table::postgres());
}

#[test]
fn cycle_key_and_writers_in_sqlite() {
    cycle_key_and_writers(Table::sqlite());
}

/// Two requests cycle the key while ten others write. Afterwards there is one session, under one new key.
fn cycle_key_and_writers(table: Table) {
    let mut both = Sites::start(table, &SessionSettings::default());
    let urls = both.urls();
    let (mut writes, mut cycled) = (Writes::default(), Writes::default());
    for _ in 0..ROUNDS {
        both.table.reset(&[]);
        let mut visitor = Client::new();
        run(&mut visitor, &urls[0], &json!([["set", "born", true]]));
        let key = visitor.cookies["sessionid"].clone();
        let answers = at_once(12, |n| {
            let mut client = visitor.clone();
            let last = if n < 2 { json!(["cycle_key"]) } else { json!(["set", format!("w{n}"), n]) };
            let reply = client.post_json(&urls[n % 2], &in_the_middle(n, last));
            (n, reply, client.cookies["sessionid"].clone())
        });
        let mut rows = both.rows();
        assert!(!rows.contains_key(&key), "the old key is gone");
        let born: Vec<String> = rows
            .iter()
            .filter(|(_, data)| data.get_json("born").is_some())
            .map(|(key, _)| key.clone())
            .collect();
        assert_eq!(born.len(), 1, "one session has become {}", born.len());
        let session = rows.remove(&born[0]).unwrap();
        for (n, reply, now) in answers {
            let name = format!("w{n}");
            let tally = if n < 2 { &mut cycled } else { &mut writes };
            match (reply.status, now == key) {
                (400, true) => {
                    refused(&reply);
                    assert!(session.get_json(&name).is_none(), "{name} was refused and is there");
                    tally.refused += 1;
                }
                (200, _) if now == born[0] || (n >= 2 && now == key) => {
                    assert_eq!(session.get_json(&name).is_some(), n >= 2, "{name} was accepted and is lost");
                    tally.stored += 1;
                }
                (200, false) => {
                    // The row was renamed before this request looked for it.
                    let own = rows.remove(&now).expect("a row for the key that was given out");
                    assert_eq!(own.keys().len(), usize::from(n >= 2), "a session of its own");
                    tally.began += 1;
                }
                other => panic!("{other:?}: {reply:?}"),
            }
        }
        assert!(rows.is_empty(), "rows that nobody knows: {rows:?}");
    }
    println!("cycle_key: {writes:?}, {cycled:?}");
    writes.assert_all_kinds();
    assert_eq!(cycled.stored, ROUNDS, "one of the two was first: {cycled:?}");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn flush_and_writers_in_postgres() {
    for save_every_request in [false, true] {
        flush_and_writers(Table::postgres(), save_every_request);
    }
}

#[test]
fn flush_and_writers_in_sqlite() {
    for save_every_request in [false, true] {
        flush_and_writers(Table::sqlite(), save_every_request);
    }
}

/// One request flushes while eleven others write, count, clear, cycle or only read. No row comes back.
fn flush_and_writers(table: Table, save_every_request: bool) {
    let settings = SessionSettings::default().save_every_request(save_every_request);
    let mut both = Sites::start(table, &settings);
    let urls = both.urls();
    let mut writes = Writes::default();
    for _ in 0..ROUNDS {
        both.table.reset(&[]);
        let mut visitor = Client::new();
        run(&mut visitor, &urls[0], &json!([["set", "born", true], ["set", "n", 1000]]));
        let key = visitor.cookies["sessionid"].clone();
        let answers = at_once(12, |n| {
            let mut client = visitor.clone();
            let last = match n {
                0 => json!(["flush"]),
                1 | 2 => json!(["get", "n"]),
                3 => json!(["clear"]),
                4 | 5 => json!(["incr", "n"]),
                6 => json!(["modified"]),
                7 => json!(["set_expiry", 600]),
                _ => json!(["set", format!("w{n}"), n]),
            };
            let reply = client.post_json(&urls[n % 2], &in_the_middle(n, last));
            (n, reply, client.cookies.get("sessionid").cloned())
        });
        let mut rows = both.rows();
        assert!(!rows.contains_key(&key), "the row came back");
        for (n, reply, now) in answers {
            match (reply.status, now) {
                (400, Some(now)) if now == key && n > 0 => {
                    refused(&reply);
                    writes.refused += 1;
                }
                (200, Some(now)) if now == key && n > 0 => {
                    if reply.set_cookies().is_empty() {
                        writes.nothing += 1
                    } else {
                        writes.stored += 1
                    }
                }
                (200, Some(now)) => {
                    let own = rows.remove(&now).expect("a row for the key that was given out");
                    assert!(own.get_json("born").is_none(), "data of the ended session: {:?}", own.to_json());
                    assert!(own.get_json("n").is_none_or(|n| n == "1"), "{:?}", own.to_json());
                    writes.began += 1;
                }
                (200, None) => writes.nothing += 1, // told that there is no such session
                other => panic!("{n}: {other:?}: {reply:?}"),
            }
        }
        assert!(rows.is_empty(), "rows that nobody knows: {rows:?}");
    }
    println!("flush, save_every_request {save_every_request}: {writes:?}");
    writes.assert_all_kinds();
}

/// A program that has loaded the session before it waits and then does the last thing. The first two wait in
/// the middle, the others around it: some are surely before, some surely after. The last two even load after
/// it.
fn in_the_middle(n: usize, last: Value) -> Value {
    match n {
        0 | 1 => json!([["get", "born"], ["sleep", 0.06], last]),
        10.. => json!([["sleep", 0.15], last]),
        _ => json!([["get", "born"], ["sleep", 0.02 * (n % 6) as f64 + 0.01], last]),
    }
}

fn refused(reply: &Reply) {
    assert!(reply.text().starts_with("The request's session was deleted"), "{}", reply.text());
    assert!(reply.set_cookies().is_empty(), "{reply:?}");
}
