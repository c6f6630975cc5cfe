//! Sessions that are in the cookie itself: what is different there.

use std::{
    thread,
    time::{Duration, SystemTime},
};

use actix_django_session::{SecretKey, SessionKey, SessionSettings, Store};
use serde_json::{Value, json};

use crate::{
    pair::{DELETION, Pair, SECRET, Server, shape},
    support::{logs, signing, site::Site},
};

pub(crate) fn born(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut visitor = pair.visitor();
        let reply = visitor.ask(here, &json!([["set", "who", here.name()]]));
        assert_eq!(reply.set_cookies().len(), 1);
        let cookie = visitor.the_key();
        let reply = visitor.ask(there, &json!([["get", "who"], ["flags"]]));
        let results = &reply.json()["results"];
        assert_eq!((&results[0], &results[1]["key"]), (&json!(here.name()), &json!(cookie)));
        assert!(reply.set_cookies().is_empty(), "reading sets no cookie: {reply:?}");

        visitor.run(there, &json!([["set", "and", there.name()]]));
        assert_ne!(visitor.the_key(), cookie, "the cookie is the data");
        let items = json!([[["who", here.name()], ["and", there.name()]]]);
        for server in [here, there] {
            assert_eq!(Value::from(visitor.run(server, &json!([["items"]]))), items, "{}", server.name());
        }
        assert_eq!(visitor.client.cookies.len(), 1, "one cookie: {:?}", visitor.client.cookies);
        // A long one is compressed.
        visitor.run(here, &json!([["set", "long", "long ".repeat(2000)]]));
        assert!(visitor.the_key().starts_with('.') && visitor.the_key().len() < 1000);
        assert_eq!(visitor.look(there, "long"), "long ".repeat(2000));
    }
}

/// The cookie goes. Nobody can take back a copy of it.
pub(crate) fn flush(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut visitor = pair.visitor();
        visitor.run(there, &json!([["set", "k", 1]]));
        let mut copy = visitor.clone();
        let reply = visitor.ask(here, &json!([["flush"]]));
        assert_eq!((reply.status, reply.set_cookies()), (200, vec![DELETION]), "{}", here.name());
        assert_eq!(visitor.look(there, "k"), Value::Null);
        for server in [here, there] {
            assert_eq!(copy.look(server, "k"), 1, "{}", server.name());
        }
        copy.run(here, &json!([["flush"], ["set", "k", 3]]));
        assert_eq!(copy.run(there, &json!([["items"]])), [json!([["k", 3]])]);
    }
}

/// Signed anew, and that is all.
pub(crate) fn cycle_key(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut visitor = pair.visitor();
        visitor.run(there, &json!([["set", "k", 1]]));
        let cookie = visitor.the_key();
        visitor.run(here, &json!([["cycle_key"], ["set", "n", 2]]));
        assert_ne!(visitor.the_key(), cookie);
        assert_eq!(visitor.run(there, &json!([["get", "k"], ["get", "n"]])), [json!(1), json!(2)]);
        let reply = visitor.ask(here, &json!([["cycle_key"]]));
        assert_eq!(reply.set_cookies().len(), 1, "{}", here.name());
        assert_eq!(visitor.run(there, &json!([["items"]])), [json!([["k", 1], ["n", 2]])]);
    }
}

pub(crate) fn save_every_request(pair: &Pair) {
    let settings = SessionSettings::default().save_every_request(true);
    let ours = pair.site(settings, SecretKey::new(SECRET));
    let django = pair.django_with(&[("SECRET_KEY", SECRET), ("SESSION_SAVE_EVERY_REQUEST", "1")]);
    for (here, there) in [(&django as &dyn Server, &ours as &dyn Server), (&ours, &django)] {
        let mut visitor = pair.visitor();
        let reply = visitor.ask(here, &json!([["set", "k", 1], ["set_expiry", 600]]));
        let first = shape(reply.set_cookie("sessionid").unwrap(), &visitor.the_key());
        let before = visitor.the_key();
        for server in [there, here] {
            thread::sleep(Duration::from_millis(1100)); // the stamp has seconds
            for program in [None, Some(json!([["get", "k"]])), Some(json!([]))] {
                let what = format!("{}: {program:?}", server.name());
                let mut tab = visitor.clone();
                let reply = match &program {
                    None => tab.get(server, "/untouched"),
                    Some(program) => tab.ask(server, program),
                };
                let line = reply.set_cookie("sessionid").unwrap_or_else(|| panic!("{what}: no cookie"));
                assert_eq!(shape(line, &tab.the_key()), first, "{what}");
                assert_ne!(tab.the_key(), before, "{what}: stamped anew");
                assert_eq!(tab.look(here, "k"), 1, "{what}");
            }
        }
        for server in [here, there] {
            assert!(pair.visitor().get(server, "/untouched").set_cookies().is_empty());
        }
    }
}

/// A cookie without a valid signature reads as an empty session, and is kept until the visitor writes.
pub(crate) fn wrong_secret(pair: &Pair) {
    let mut visitor = pair.user();
    visitor.run(&pair.ours, &json!([["set", "cart", [1, 2]]]));
    let cookie = visitor.the_key();
    let wrong = pair.site(SessionSettings::default(), SecretKey::new("another secret"));
    let _alone = pair.alone_with_logs();
    let (logs, of_site) = (logs::capture_all_threads(), wrong.logs());
    for program in [
        json!([["get", "cart"], ["keys"], ["user"]]),
        json!([["expiry_age"], ["pop", "cart"], ["del", "cart"]]),
        json!([["set", "cart", 0], ["status", 500]]),
    ] {
        let mut tab = visitor.clone();
        let reply = tab.ask(&wrong, &program);
        assert_eq!((tab.the_key(), reply.set_cookies().len()), (cookie.clone(), 0), "{program}: {reply:?}");
    }
    let mut tab = visitor.clone();
    tab.run(&wrong, &json!([["set", "cart", 0]]));
    assert_eq!(tab.look(&wrong, "cart"), 0);
    drop(wrong);
    of_site.expect_total("Session data corrupted", 4);
    assert!(logs.with(&cookie).is_empty(), "a session in the log");
    assert_eq!(visitor.look(&pair.django, "cart"), json!([1, 2]));
}

/// Django sends a cookie that no browser keeps; our site returns an error.
pub(crate) fn too_large(pair: &Pair) {
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["set", "k", 1]]));
    let noise: String = (0..200).map(|_| SessionKey::generate().as_str().to_owned()).collect();
    let mut tab = visitor.clone();
    let reply = tab.ask(&pair.ours, &json!([["set", "noise", noise]]));
    assert!(reply.status >= 500 && reply.set_cookies().is_empty(), "{reply:?}");
    assert_eq!(tab.run(&pair.django, &json!([["items"]])), [json!([["k", 1]])], "the session is what it was");
}

/// Django takes a copy of a cookie until the cookie age is over, whatever its own expiry is. We look at that
/// too.
pub(crate) fn too_old(pair: &Pair) {
    let hour = Duration::from_secs(3600);
    let django = pair.django_with(&[("SECRET_KEY", SECRET), ("SESSION_COOKIE_AGE", "3600")]);
    let ours = Site::start(SessionSettings::default().cookie_age(hour), async move || {
        Store::signed_cookies(SecretKey::new(SECRET))
    });
    let visitor = |json: &str, seconds_ago: u64| {
        let saved = SystemTime::now() - Duration::from_secs(seconds_ago);
        pair.visitor_with(&signing::text(json, saved, signing::COOKIES, SECRET))
    };
    for server in [&django as &dyn Server, &ours] {
        assert_eq!(visitor(r#"{"k":1}"#, 3000).look(server, "k"), 1, "{}", server.name());
        assert_eq!(visitor(r#"{"k":1}"#, 3700).look(server, "k"), Value::Null, "{}", server.name());
    }
    let own = r#"{"k":1,"_session_expiry":600}"#;
    for server in [&django as &dyn Server, &ours] {
        assert_eq!(visitor(own, 300).look(server, "k"), 1, "{}", server.name());
    }
    assert_eq!(visitor(own, 700).look(&django, "k"), 1);
    let reply = visitor(own, 700).ask(&ours, &json!([["get", "k"]]));
    assert_eq!((&reply.json()["results"][0], reply.set_cookies()), (&Value::Null, vec![DELETION]));
}
