//! Both sites at work on one session at the same time.

use std::{
    thread,
    time::{Duration, Instant},
};

use actix_django_session::{SecretKey, SessionSettings};
use serde_json::{Value, json};

use crate::{
    pair::{Pair, SECRET, Server, Visitor},
    support::{
        http::Reply,
        proc::{PATIENCE, wait_until},
    },
};

/// The response if the session is deleted during the request: the text of Django's exception.
pub(crate) const INTERRUPTED: &str = "The request's session was deleted before the request completed. \
     The user may have logged out in a concurrent request, for example.";
/// Starts a request at `slow` that has loaded and saved its session once and now takes its time, does
/// something else meanwhile, and gives the slow request's answer.
///
/// The slow one's program: `seen` is set and saved, then comes `late`, and a sleep.
pub(crate) fn during(
    pair: &Pair,
    visitor: &Visitor,
    slow: &dyn Server,
    late: &[Value],
    meanwhile: impl FnOnce(),
) -> Reply {
    let key = visitor.the_key();
    let before = pair.db.row(&key).unwrap().stored;
    let mut program = vec![json!(["set", "seen", true]), json!(["save"])];
    program.extend_from_slice(late);
    program.push(json!(["sleep", 2]));
    let mut tab = visitor.clone();
    thread::scope(|scope| {
        let slow = scope.spawn(move || tab.ask(slow, &program.into()));
        wait_until("the slow request should have saved", PATIENCE, || {
            pair.db.row(&key).unwrap().stored != before
        });
        meanwhile();
        assert!(!slow.is_finished(), "what was to happen meanwhile took too long");
        slow.join().unwrap()
    })
}

pub(crate) fn writes_at_once(pair: &Pair) {
    // Ours is the slow one: what Django wrote meanwhile stays, and an update is made again on it.
    // The other way round Django writes back the whole dictionary that it once read.
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["set", "n", 1], ["set", "both", "before"], ["set", "gone", 1]]));
    let late = [
        json!(["incr", "n"]),
        json!(["set", "both", "ours"]),
        json!(["set", "a", 1]),
        json!(["del", "gone"]),
    ];
    let mut tab = visitor.clone();
    let reply = during(pair, &visitor, &pair.ours, &late, || {
        tab.run(&pair.django, &json!([["set", "n", 10], ["set", "both", "Django's"], ["set", "b", 2]]));
    });
    assert_eq!(reply.status, 200, "{}", reply.text());
    let items = visitor.run(&pair.django, &json!([["items"]])).remove(0);
    assert_eq!(items, json!([["n", 11], ["both", "ours"], ["seen", true], ["b", 2], ["a", 1]]));
}

pub(crate) fn ended_meanwhile(pair: &Pair) {
    let drop_changes = SessionSettings::default().drop_interrupted_changes(true);
    let dropping = pair.site(drop_changes, SecretKey::new(SECRET));
    thread::scope(|scope| {
        for end in ["flush", "cycle_key", "delete_row"] {
            for (slow, fast, drops) in [
                (&pair.ours as &dyn Server, &pair.django as &dyn Server, false),
                (&pair.django, &pair.ours, false),
                (&dropping, &pair.django, true),
            ] {
                scope.spawn(move || ended_by(pair, slow, fast, end, drops));
            }
        }
    });
    let late = pair.all_json().iter().any(|json| json.contains("\"late\":"));
    assert!(!late, "nothing was stored of what came too late");
}

/// `fast` ends a session in the middle of a request at `slow`.
fn ended_by(pair: &Pair, slow: &dyn Server, fast: &dyn Server, end: &str, drops: bool) {
    let what = format!("{end} by {} during a request at {}", fast.name(), slow.name());
    let mut visitor = pair.visitor();
    visitor.run(fast, &json!([["set", "k", 1]]));
    let key = visitor.the_key();
    let mut tab = visitor.clone();
    let reply = during(pair, &visitor, slow, &[json!(["set", "late", true])], || {
        tab.run(fast, &json!([[end]]));
    });
    if drops {
        assert_eq!(reply.status, 200, "{what}: {}", reply.text());
        assert_eq!(reply.json()["results"].as_array().unwrap().len(), 4, "the view's own response");
    } else {
        assert_eq!(reply.status, 400, "{what}: {}", reply.text());
        let text = if slow.name() == "ours" { INTERRUPTED } else { "<h1>Bad Request (400)</h1>" };
        assert!(reply.text().contains(text), "{what}: {}", reply.text());
    }
    assert!(reply.set_cookies().is_empty(), "{what}: {reply:?}");
    assert_eq!(pair.db.row(&key), None, "{what}");
    if end == "cycle_key" {
        assert_ne!(tab.the_key(), key);
        let rest = tab.run(slow, &json!([["keys"]]));
        assert_eq!(rest, [json!(["k", "seen"])], "{what}: the session lives on under its new key");
    }
}

/// Four threads on each side for two seconds. All our threads write one row. Each other row is written by
/// both sides in turn, since Django's save overwrites a concurrent change.
pub(crate) fn both_under_load(pair: &Pair) {
    let end = Instant::now() + Duration::from_secs(2);
    let mut shared = pair.visitor();
    shared.run(&pair.django, &json!([["set", "n", 0]]));
    let (ours, turns) = thread::scope(|scope| {
        let ours: Vec<_> = (0..4)
            .map(|_| {
                let mut tab = shared.clone();
                scope.spawn(move || {
                    let mut done = 0;
                    while Instant::now() < end {
                        tab.run(&pair.ours, &json!([["incr", "n"]]));
                        done += 1;
                    }
                    done
                })
            })
            .collect();
        let turns: Vec<_> = (0..4)
            .map(|_| {
                let mut visitor = pair.visitor();
                scope.spawn(move || {
                    let mut done = 0;
                    while Instant::now() < end {
                        visitor.run(&pair.django, &json!([["incr", "django"]]));
                        visitor.run(&pair.ours, &json!([["incr", "ours"]]));
                        done += 1;
                    }
                    let counted = visitor.run(&pair.django, &json!([["get", "django"], ["get", "ours"]]));
                    assert_eq!(counted, [json!(done), json!(done)]);
                    done
                })
            })
            .collect();
        let sum = |threads: Vec<thread::ScopedJoinHandle<'_, i32>>| -> i32 {
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        };
        (sum(ours), sum(turns))
    });
    assert_eq!(shared.look(&pair.django, "n"), ours);
    assert!(ours > 10 && turns > 10, "{ours} and {turns} in two seconds");
    println!("    {ours} increments by our site on one row, {turns} by turns with Django on four");
}
