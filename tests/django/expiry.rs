//! When sessions end.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use actix_django_session::{SecretKey, SessionSettings};
use serde_json::{Value, json};

use crate::{
    pair::{Pair, SECRET, Server, TWO_WEEKS, near, shape, unix},
    support::site::to_iso,
};

/// The expected expiry of a session.
#[derive(Clone, Copy)]
enum Ends {
    /// Seconds after each save.
    After(f64),
    /// Seconds after the call of `set_expiry`.
    In(f64),
    At(f64),
}

impl Ends {
    /// From when it was set.
    fn set(self, now: f64) -> Self {
        match self {
            Self::In(seconds) => Self::At(now + seconds),
            other => other,
        }
    }

    fn at(self, now: f64) -> f64 {
        match self {
            Self::After(seconds) | Self::In(seconds) => now + seconds,
            Self::At(time) => time,
        }
    }
}

/// Checks when the row expires: exactly if Django wrote it, rounded up by a thousandth of the age if we did,
/// and it is a row of a database. A date that the application chose is never rounded.
fn check_row(pair: &Pair, key: &str, by: &dyn Server, ends: Ends, what: &str) {
    let row = pair.db.row(key).unwrap();
    let (stored, exact) = (unix(row.expires), ends.at(unix(SystemTime::now())));
    match ends {
        Ends::After(age) if by.name() == "ours" && pair.db.rounds_expiry() => {
            assert!((-2.0..=age / 1000.0 + 2.0).contains(&(stored - exact)), "{what}: {stored} for {exact}");
            let micros = row.expires.duration_since(UNIX_EPOCH).unwrap().as_micros();
            assert_eq!(micros % (age * 1000.0) as u128, 0, "{what}");
        }
        _ => near(stored, exact, what),
    }
}

pub(crate) fn expiry(pair: &Pair) {
    let now = unix(SystemTime::now());
    let whole = UNIX_EPOCH + Duration::from_secs(now as u64 + 5000);
    let micros = whole + Duration::from_micros(123_456);
    let elsewhere = to_iso(whole + Duration::from_secs(19_800)).replace("+00:00", "+05:30");
    let at = |time| Ends::At(unix(time));
    // Program, expiry, and whether the cookie lasts only until the browser closes.
    let everywhere = [
        (json!([["set_expiry", 300]]), Ends::After(300.0), false),
        (json!([["set_expiry", 0]]), Ends::After(TWO_WEEKS), true),
        (json!([["set_expiry", null]]), Ends::After(TWO_WEEKS), false),
        (json!([["set_expiry", 300], ["set_expiry", null]]), Ends::After(TWO_WEEKS), false),
        (json!([["set_expiry", 31_536_000]]), Ends::After(31_536_000.0), false),
        // The longest. Django's own saves add it to the present time.
        (json!([["set_expiry", 31_536_000_000_u64]]), Ends::After(31_536_000_000.0), false),
        (json!([["set_expiry_in", 3600]]), Ends::In(3600.0), false),
        (json!([["set_expiry_date", to_iso(whole)]]), at(whole), false),
        (json!([["set_expiry_date", to_iso(micros)]]), at(micros), false),
        (json!([["set_expiry_date", elsewhere]]), at(whole), false),
    ];
    // Numbers that only Python's forms allow.
    let of_django = [
        (json!([["set_expiry", 300.5]]), Ends::After(300.5), false),
        (json!([["set_expiry", false]]), Ends::After(TWO_WEEKS), true),
    ];
    for (here, there) in pair.both_ways() {
        let of_django = if here.name() == "Django" { &of_django[..] } else { &[] };
        for (program, ends, browser_close) in everywhere.iter().chain(of_django) {
            let what = format!("{} by {}", program, here.name());
            let mut visitor = pair.visitor();
            let mut ops = program.as_array().unwrap().clone();
            ops.insert(0, json!(["set", "k", 1]));
            let reply = visitor.ask(here, &ops.into());
            let (key, now) = (visitor.the_key(), unix(SystemTime::now()));
            let ends = ends.set(now);
            let (first, max_age) = shape(reply.set_cookie("sessionid").unwrap(), &key);
            assert_eq!(max_age.is_none(), *browser_close, "{what}: {first}");
            let stored = pair.data(&key).get_json("_session_expiry").map(str::to_owned);
            check_row(pair, &key, here, ends, &what);

            // Neither site looks at the row's date for this, so that a rounded one makes no difference.
            for server in [here, there] {
                let look = json!([["expiry_age"], ["expiry_date"], ["browser_close"]]);
                let results = visitor.run(server, &look);
                let now = unix(SystemTime::now());
                near(
                    results[0].as_f64().unwrap(),
                    ends.at(now) - now,
                    &format!("age at {}, {what}", server.name()),
                );
                near(
                    results[1].as_f64().unwrap(),
                    ends.at(now),
                    &format!("date at {}, {what}", server.name()),
                );
                assert_eq!(results[2], *browser_close, "at {}, {what}", server.name());
            }

            // The other side renews it: the same cookie, the same kind of end.
            let reply = visitor.ask(there, &json!([["set", "k", 2]]));
            let key = visitor.the_key();
            let (second, other_max_age) = shape(reply.set_cookie("sessionid").unwrap(), &key);
            assert_eq!(first, second, "{what}");
            if let (Some(a), Some(b)) = (max_age, other_max_age) {
                near(a, b, &what);
            }
            check_row(pair, &key, there, ends, &what);
            assert_eq!(pair.data(&key).get_json("_session_expiry").map(str::to_owned), stored, "{what}");
        }
    }
}

pub(crate) fn save_every_request(pair: &Pair) {
    // Exact dates show each renewal.
    let settings = SessionSettings::default().save_every_request(true).exact_expiry(true);
    let ours = pair.site(settings, SecretKey::new(SECRET));
    let django = pair.django_with(&[("SECRET_KEY", SECRET), ("SESSION_SAVE_EVERY_REQUEST", "1")]);
    for (here, there) in [(&django as &dyn Server, &ours as &dyn Server), (&ours, &django)] {
        let mut visitor = pair.visitor();
        let reply = visitor.ask(here, &json!([["set", "k", 1], ["set_expiry", 600]]));
        let (key, data) = (visitor.the_key(), pair.data(&visitor.the_key()).to_json());
        let first = shape(reply.set_cookie("sessionid").unwrap(), &key);
        let mut saved = pair.db.row(&key).unwrap().expires;
        for server in [there, here, there] {
            for program in [None, Some(json!([["get", "k"]])), Some(json!([]))] {
                let what = format!("{}: {program:?}", server.name());
                // More than a tick of the kernel's clock, by which a file of Django's has its time.
                thread::sleep(Duration::from_millis(12));
                let reply = match &program {
                    None => visitor.get(server, "/untouched"),
                    Some(program) => visitor.ask(server, program),
                };
                assert_eq!(reply.status, 200, "{what}");
                let line = reply.set_cookie("sessionid").unwrap_or_else(|| panic!("{what}: no cookie"));
                assert_eq!(shape(line, &key), first, "{what}");
                let row = pair.db.row(&key).unwrap();
                assert!(row.expires > saved, "{what}: the row lives longer");
                near(unix(row.expires), unix(SystemTime::now()) + 600.0, &what);
                saved = row.expires;
            }
            let reply = visitor.ask(server, &json!([["set", "k", 2], ["status", 500]]));
            assert!(reply.status == 500 && reply.set_cookies().is_empty(), "a failure saves nothing");
            assert_eq!(pair.db.row(&key).unwrap().expires, saved);
            assert_eq!(pair.data(&key).to_json(), data);
        }
        // A visitor without a session gets none.
        let before = pair.db.rows().len();
        for server in [here, there] {
            assert!(pair.visitor().get(server, "/untouched").set_cookies().is_empty());
            assert!(pair.visitor().ask(server, &json!([["get", "k"]])).set_cookies().is_empty());
        }
        assert_eq!(pair.db.rows().len(), before);
    }
}

/// Django's file engine does not look at an expiry that is a number. We do, and leave the file where it is.
pub(crate) fn number_in_a_file(pair: &Pair) {
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["set", "k", 1], ["set_expiry", 1]]));
    let key = visitor.the_key();
    assert_eq!(pair.visitor_with(&key).look(&pair.ours, "k"), 1);
    thread::sleep(Duration::from_millis(1100));
    let row = pair.db.row(&key);
    assert_eq!(pair.visitor_with(&key).look(&pair.ours, "k"), Value::Null);
    assert_eq!(pair.visitor_with(&key).look(&pair.django, "k"), 1);
    assert_eq!(pair.db.row(&key), row);
    pair.with_store(async |store| store.clear_expired().await.unwrap());
    assert_eq!(pair.db.row(&key), None);
}

/// A site with `USE_TZ = False`, far from UTC: its dates have no zone, but its rows say when that is.
pub(crate) fn local_time(pair: &Pair) {
    const KATHMANDU: u64 = 5 * 3600 + 45 * 60;
    let settings = [("SECRET_KEY", SECRET), ("USE_TZ", "0"), ("TIME_ZONE", "Asia/Kathmandu")];
    let django = pair.django_with(&settings);
    let now = unix(SystemTime::now());
    let whole = UNIX_EPOCH + Duration::from_secs(now as u64 + 5000);
    let local = to_iso(whole + Duration::from_secs(KATHMANDU)).replace("+00:00", "");
    let programs = [
        (json!([["set_expiry", 300]]), Ends::After(300.0), false),
        (json!([["set_expiry", 0]]), Ends::After(TWO_WEEKS), true),
        (json!([["set_expiry", null]]), Ends::After(TWO_WEEKS), false),
        (json!([["set_expiry_in", 3600]]), Ends::In(3600.0), false),
        (json!([["set_expiry_date", local]]), Ends::At(unix(whole)), false),
    ];
    let ours: &dyn Server = &pair.ours;
    for (program, ends, browser_close) in &programs {
        // Our dates have a zone, which Django with USE_TZ = False cannot read.
        let number = !matches!(ends, Ends::In(_) | Ends::At(_));
        let writers = [Some(&django as &dyn Server), number.then_some(ours)];
        for writer in writers.into_iter().flatten() {
            let what = format!("{program} by {}", writer.name());
            let mut visitor = pair.visitor();
            let mut ops = program.as_array().unwrap().clone();
            ops.insert(0, json!(["set", "k", 1]));
            visitor.run(writer, &ops.into());
            let ends = ends.set(unix(SystemTime::now()));
            let stored = pair.data(&visitor.the_key()).get_json("_session_expiry").map(str::to_owned);
            // Each looks and writes in turn, and the end stays where it is.
            for server in [ours, &django, ours] {
                let what = format!("{what}, at {}", server.name());
                let look = json!([["expiry_age"], ["expiry_date"], ["browser_close"]]);
                let results = visitor.run(server, &look);
                let now = unix(SystemTime::now());
                near(results[0].as_f64().unwrap(), ends.at(now) - now, &what);
                near(results[1].as_f64().unwrap(), ends.at(now), &what);
                assert_eq!(results[2], *browser_close, "{what}");
                let reply = visitor.ask(server, &json!([["incr", "k"]]));
                let (key, now) = (visitor.the_key(), unix(SystemTime::now()));
                let (_, max_age) = shape(reply.set_cookie("sessionid").unwrap(), &key);
                assert_eq!(max_age.is_none(), *browser_close, "{what}");
                if let Some(max_age) = max_age {
                    near(max_age, ends.at(now) - now, &what);
                }
                check_row(pair, &key, server, ends, &what);
                assert_eq!(pair.data(&key).get_json("_session_expiry").map(str::to_owned), stored, "{what}");
            }
            assert_eq!(visitor.look(&django, "k"), 4, "{what}");
        }
    }
}
