//! Users of Django: logged in, logged out, told something.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::{
    pair::{DELETION, Pair, SECRET, Visitor},
    support::django::{PASSWORD, USER},
};

pub(crate) fn login_is_read(pair: &Pair) {
    let mut visitor = pair.user();
    let key = visitor.the_key();
    let names = json!([["keys"], ["get", "_auth_user_id"], ["get", "_auth_user_backend"], ["user"]]);
    let results = visitor.run(&pair.ours, &names);
    assert_eq!(results[0], json!(["_auth_user_id", "_auth_user_backend", "_auth_user_hash"]));
    assert_eq!(results[1], "1");
    assert_eq!(results[2], "django.contrib.auth.backends.ModelBackend");
    assert_eq!(results[3], "1");
    assert_eq!(visitor.look(&pair.ours, "_auth_user_hash").as_str().unwrap().len(), 64);

    // Our write does not log the user out.
    visitor.run(&pair.ours, &json!([["set", "cart", [1, 2]]]));
    pair.keeps(&visitor, &key);
    assert_eq!(visitor.run(&pair.django, &json!([["user"], ["get", "cart"]])), [json!(USER), json!([1, 2])]);
    assert_eq!(visitor.get(&pair.django, "/admin/").status, 200);
}

pub(crate) fn admin_after_cycle_key(pair: &Pair) {
    let mut visitor = pair.user();
    let mut old = visitor.clone();
    visitor.run(&pair.ours, &json!([["cycle_key"]]));
    assert_ne!(visitor.key(), old.key());
    assert_eq!(visitor.get(&pair.django, "/admin/").status, 200);
    assert_eq!(visitor.get(&pair.django, "/admin/auth/user/").status, 200);
    assert_eq!(old.get(&pair.django, "/admin/").status, 302, "the old key is worth nothing");
}

pub(crate) fn anonymous_becomes_user(pair: &Pair) {
    let mut visitor = pair.visitor();
    visitor.run(&pair.ours, &json!([["set", "cart", [7]]]));
    let mut old = visitor.clone();
    visitor.login(&pair.django);
    assert_ne!(visitor.key(), old.key(), "a login cycles the key");
    let program = json!([["get", "cart"], ["user"]]);
    assert_eq!(visitor.run(&pair.ours, &program), [json!([7]), json!("1")]);
    assert_eq!(old.run(&pair.ours, &program), [Value::Null, Value::Null]);
}

pub(crate) fn logout(pair: &Pair) {
    let mut visitor = pair.user();
    let (key, mut old) = (visitor.the_key(), visitor.clone());
    let reply = visitor.submit(&pair.django, "/admin/", "/admin/logout/", &[]);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.set_cookie("sessionid"), Some(DELETION));
    let reply = old.ask(&pair.ours, &json!([["user"]]));
    assert_eq!(reply.json()["results"], json!([null]));
    assert_eq!((reply.set_cookies(), pair.db.row(&key)), (vec![DELETION], None));

    let mut visitor = pair.user();
    let (key, mut old) = (visitor.the_key(), visitor.clone());
    visitor.run(&pair.ours, &json!([["flush"]]));
    assert_eq!((visitor.key(), pair.db.row(&key)), (None, None));
    for visitor in [&mut visitor, &mut old] {
        let reply = visitor.get(&pair.django, "/admin/");
        assert_eq!(reply.status, 302);
        assert!(reply.header("location").unwrap().starts_with("/admin/login/"), "{reply:?}");
    }
}

pub(crate) fn messages(pair: &Pair) {
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["message", "Saved: \u{201c}ü\u{201d}"], ["message", "Twice"]]));
    let left = pair.data(&visitor.the_key()).get_json("_messages").unwrap().to_owned();
    let ours = visitor.look(&pair.ours, "_messages");
    assert!(ours.as_str().unwrap().starts_with("[[\"__json_message\","), "{ours}");

    visitor.run(&pair.ours, &json!([["set", "k", 1], ["incr", "n"]]));
    assert_eq!(pair.data(&visitor.the_key()).get_json("_messages"), Some(left.as_str()));
    let page = visitor.get(&pair.django, "/page").text();
    assert!(page.contains("Saved: \u{201c}ü\u{201d}</li>") && page.contains("Twice</li>"), "{page}");
    assert_eq!(visitor.run(&pair.ours, &json!([["keys"]])), [json!(["k", "n"])], "shown once");
    assert!(!visitor.get(&pair.django, "/page").text().contains("Twice"));
}

pub(crate) fn csrf_in_session(pair: &Pair) {
    let django = pair.django_with(&[("SECRET_KEY", SECRET), ("CSRF_USE_SESSIONS", "1")]);
    let mut visitor = pair.visitor();
    let form = visitor.get(&django, "/admin/login/").text();
    let token = form.split_once("csrfmiddlewaretoken\" value=\"").unwrap().1.split('"').next().unwrap();
    assert_eq!(visitor.client.cookies.len(), 1, "no cookie but the session's: {:?}", visitor.client.cookies);
    let secret = visitor.look(&pair.ours, "_csrftoken");
    assert_eq!(secret.as_str().unwrap().len(), 32);
    // Between the form and its sending we write, and give the session a new key.
    visitor.run(&pair.ours, &json!([["set", "k", 1], ["cycle_key"]]));
    let fields = [("csrfmiddlewaretoken", token), ("username", USER), ("password", PASSWORD)];
    visitor.requests.fetch_add(1, Ordering::Relaxed);
    let reply = visitor.client.post_form(&django.url("/admin/login/?next=/admin/"), &fields);
    assert_eq!(reply.status, 302, "{}", reply.text());
    assert_eq!(visitor.run(&pair.ours, &json!([["user"], ["get", "k"]])), [json!("1"), json!(1)]);
    assert_ne!(visitor.look(&pair.ours, "_csrftoken"), secret, "a login draws a new one");
}

pub(crate) fn new_password(pair: &Pair) {
    let change = |visitor: &mut Visitor, old: &str, new: &str| {
        let fields = [("old_password", old), ("new_password1", new), ("new_password2", new)];
        let page = "/admin/password_change/";
        let reply = visitor.submit(&pair.django, page, page, &fields);
        assert_eq!(reply.status, 302, "{}", reply.text());
    };
    let (mut visitor, mut elsewhere) = (pair.user(), pair.user());
    visitor.run(&pair.ours, &json!([["set", "cart", 1]]));
    let (mut old, hash) = (visitor.clone(), visitor.look(&pair.ours, "_auth_user_hash"));
    change(&mut visitor, PASSWORD, "battery staple");
    assert_ne!(visitor.key(), old.key(), "Django cycles the key");
    assert_eq!(visitor.run(&pair.ours, &json!([["user"], ["get", "cart"]])), [json!("1"), json!(1)]);
    assert_ne!(visitor.look(&pair.ours, "_auth_user_hash"), hash);
    assert_eq!(old.run(&pair.ours, &json!([["user"]])), [Value::Null]);

    // The user's other sessions end when Django looks at them. Until then the row is what it was: whoever
    // reads `_auth_user_id` alone, as this site does, has not asked whether the password is still the same.
    let key = elsewhere.the_key();
    assert_eq!(elsewhere.run(&pair.ours, &json!([["user"]])), [json!("1")]);
    assert_eq!(elsewhere.get(&pair.django, "/admin/").status, 302);
    assert_eq!(pair.db.row(&key), None);
    assert_eq!(elsewhere.run(&pair.ours, &json!([["user"]])), [Value::Null]);
    change(&mut visitor, "battery staple", PASSWORD);
}
