//! A session's whole life, begun and ended on either side.

use std::time::SystemTime;

use actix_django_session::{SecretKey, SessionSettings};
use serde_json::{Value, json};

use crate::{
    pair::{DELETION, Pair, SECRET, Server},
    support::http::Client,
};

pub(crate) fn born_on_either_side(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut visitor = pair.visitor();
        let before = pair.db.rows().len();
        let reply = visitor.ask(here, &json!([["set", "who", here.name()]]));
        assert_eq!(reply.set_cookies().len(), 1);
        let key = visitor.the_key();

        let reply = visitor.ask(there, &json!([["get", "who"], ["flags"]]));
        let results = &reply.json()["results"];
        assert_eq!((&results[0], &results[1]["key"]), (&json!(here.name()), &json!(key)));
        assert!(reply.set_cookies().is_empty(), "reading sets no cookie: {reply:?}");

        visitor.run(there, &json!([["set", "and", there.name()]]));
        pair.keeps(&visitor, &key);
        let items = json!([[["who", here.name()], ["and", there.name()]]]);
        for server in [here, there] {
            assert_eq!(Value::from(visitor.run(server, &json!([["items"]]))), items, "{}", server.name());
        }
        assert_eq!(visitor.client.cookies.len(), 1, "one cookie: {:?}", visitor.client.cookies);
        assert_eq!(pair.db.rows().len(), before + 1, "one row");
    }
}

pub(crate) fn rendered_by_django(pair: &Pair) {
    let mut visitor = pair.visitor();
    visitor.run(
        &pair.ours,
        &json!([["set", "greeting", "Grüße & <b>küsse</b>"], ["set", "list", [1, "zwei", null]]]),
    );
    let page = visitor.get(&pair.django, "/page").text();
    assert!(page.contains("<dt>greeting</dt><dd>Grüße &amp; &lt;b&gt;küsse&lt;/b&gt;</dd>"), "{page}");
    assert!(page.contains("<dt>list</dt><dd>[1, &#x27;zwei&#x27;, None]</dd>"), "{page}");
    assert_eq!(visitor.look(&pair.django, "list"), json!([1, "zwei", null]));
}

/// An app without cookies and a browser at Django are in one session: the token is the key.
pub(crate) fn token_header(pair: &Pair) {
    let settings = SessionSettings::default().token_header("X-Session-Token");
    let site = pair.site(settings, SecretKey::new(SECRET));
    let app = |token: &str, program: Value| {
        let headers = [("content-type", "application/json"), ("x-session-token", token)];
        let body = program.to_string();
        let reply = Client::new().request("POST", &site.url("/ops"), &headers, Some(body.as_bytes()));
        assert!(reply.status == 200 && reply.set_cookies().is_empty(), "{reply:?}");
        (reply.json()["results"].clone(), reply.header("x-session-token").map(str::to_owned))
    };
    let (_, token) = app("", json!([["set", "who", "app"]]));
    let token = token.expect("the key of the new session");
    let mut visitor = pair.visitor();
    visitor.client.cookies.insert("sessionid".into(), token.clone());
    assert_eq!(visitor.look(&pair.django, "who"), "app");
    visitor.run(&pair.django, &json!([["set", "and", "Django"]]));
    assert_eq!(app(&token, json!([["items"]])), (json!([[["who", "app"], ["and", "Django"]]]), None));

    visitor.run(&pair.django, &json!([["cycle_key"]]));
    let rotated = visitor.the_key();
    assert_eq!(app(&token, json!([["get", "who"]])), (json!([null]), Some(String::new())));
    assert_eq!(app(&rotated, json!([["get", "who"]])), (json!(["app"]), None));
    let (_, token) = app(&rotated, json!([["cycle_key"]]));
    let token = token.expect("the key after the rotation");
    assert!(token != rotated && pair.db.row(&token).is_some() && pair.db.row(&rotated).is_none());

    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["set", "k", 1]]));
    let key = visitor.the_key();
    assert_eq!(app(&key, json!([["get", "k"], ["flush"]])), (json!([1, null]), Some(String::new())));
    assert_eq!(visitor.look(&pair.django, "k"), Value::Null);
    assert_eq!(pair.db.row(&key), None);
}

pub(crate) fn flush(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut visitor = pair.visitor();
        visitor.run(there, &json!([["set", "k", 1]]));
        let (key, mut old) = (visitor.the_key(), visitor.clone());
        let reply = visitor.ask(here, &json!([["flush"]]));
        assert_eq!((reply.status, reply.set_cookies()), (200, vec![DELETION]), "{}", here.name());
        assert_eq!((visitor.key(), pair.db.row(&key)), (None, None));
        // A second tab still has the cookie.
        let reply = old.clone().ask(there, &json!([["get", "k"]]));
        assert_eq!(reply.json()["results"], json!([null]));
        assert_eq!(reply.set_cookies(), [DELETION], "{}", there.name());
        old.run(there, &json!([["set", "k", 2]]));
        assert_ne!(old.the_key(), key, "an ended session's key is not used again");
        assert_eq!(pair.db.row(&key), None);

        // A write after a flush creates a new session.
        let mut visitor = old;
        let key = visitor.the_key();
        visitor.run(here, &json!([["flush"], ["set", "k", 3]]));
        assert_ne!(visitor.the_key(), key);
        assert_eq!((visitor.look(there, "k"), pair.db.row(&key)), (json!(3), None));
    }
}

pub(crate) fn cycle_key(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut visitor = pair.visitor();
        visitor.run(there, &json!([["set", "k", 1]]));
        let (key, mut old, before) = (visitor.the_key(), visitor.clone(), pair.db.rows().len());
        visitor.run(here, &json!([["cycle_key"], ["set", "n", 2]]));
        assert_ne!(visitor.the_key(), key);
        assert_eq!(visitor.run(there, &json!([["get", "k"], ["get", "n"]])), [json!(1), json!(2)]);
        assert_eq!((pair.db.row(&key), pair.db.rows().len()), (None, before));
        assert_eq!(old.look(there, "k"), Value::Null);
        assert_eq!(old.key(), None, "the old key's cookie is deleted");
    }
}

pub(crate) fn test_cookie(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let mut visitor = pair.visitor();
        assert_eq!(visitor.run(there, &json!([["test_cookie_worked"]])), [false]);
        visitor.run(here, &json!([["set_test_cookie"], ["set", "k", 1]]));
        assert_eq!(visitor.look(there, "testcookie"), "worked");
        assert_eq!(visitor.run(there, &json!([["test_cookie_worked"], ["delete_test_cookie"]]))[0], true);
        assert_eq!(
            visitor.run(here, &json!([["test_cookie_worked"], ["keys"]])),
            [json!(false), json!(["k"])]
        );
        for server in [here, there] {
            let reply = visitor.ask(server, &json!([["delete_test_cookie"]]));
            assert_eq!(reply.status, 500, "{}: a KeyError in the language of the sites", server.name());
        }
    }
}

pub(crate) fn no_fixation(pair: &Pair) {
    for (here, there) in pair.both_ways() {
        let expired = expired_key(pair, here, there);
        let mut deleted = pair.visitor();
        deleted.run(there, &json!([["set", "k", "old"]]));
        let copy = deleted.clone();
        copy.clone().run(there, &json!([["delete_row"]]));
        let unknown = "0123456789abcdefghijklmnopqrstuv".to_owned();
        for key in expired.iter().chain([&copy.the_key(), &unknown]) {
            let row = pair.db.row(key);
            let reply = pair.visitor_with(key).ask(here, &json!([["get", "k"]]));
            assert_eq!(reply.json()["results"], json!([null]));
            assert_eq!(reply.set_cookies(), [DELETION], "{}: read", here.name());
            assert_eq!(pair.db.row(key), row);

            let before = pair.db.rows().len();
            let mut visitor = pair.visitor_with(key);
            visitor.run(here, &json!([["set", "k", "new"]]));
            assert_ne!(&visitor.the_key(), key, "{} adopted a key", here.name());
            assert_eq!((pair.db.row(key), pair.db.rows().len()), (row, before + 1));
            assert_eq!(visitor.look(there, "k"), "new");
        }
        pair.with_store(async |store| store.clear_expired().await.unwrap());
    }
}

/// The key of an expired session that is still there, if the engine leaves any. A browser drops its cookie.
fn expired_key(pair: &Pair, here: &dyn Server, there: &dyn Server) -> Option<String> {
    if !pair.db.keeps_expired(here.name()) {
        return None;
    }
    pair.visitor().run(there, &json!([["set", "k", "old"], ["set_expiry", -10]]));
    let rows = pair.db.rows().into_iter();
    let mut expired = rows.filter(|row| row.expires < SystemTime::now()).map(|row| row.key);
    Some(expired.next_back().unwrap())
}

pub(crate) fn clear_expired(pair: &Pair) {
    let clear = || pair.with_store(async |store| store.clear_expired().await.unwrap());
    clear(); // what other scenarios left
    for (here, by_django) in [(&pair.ours as &dyn Server, true), (&pair.django, false)] {
        let before = pair.db.rows();
        let mut live = pair.visitor();
        live.run(here, &json!([["set", "k", "live"]]));
        for n in 0..3 {
            pair.visitor().run(here, &json!([["set", "k", n], ["set_expiry", -10]]));
        }
        assert_eq!(pair.db.rows().len(), before.len() + 4, "expired rows stay until they are swept");
        if by_django {
            pair.django.manage("clearsessions");
        } else {
            assert_eq!(clear(), 3);
        }
        let rows = pair.db.rows();
        assert_eq!(rows.len(), before.len() + 1);
        assert!(before.iter().all(|row| rows.contains(row)), "the others are what they were");
        assert_eq!(live.look(&pair.django, "k"), "live");
        assert_eq!(live.look(&pair.ours, "k"), "live");
    }
}
