//! Logins on both sides: what one side does, the other one sees.

use actix_django_session::{
    SecretKey, SessionMiddleware,
    auth::{Auth, AuthMiddleware, Users},
};
use actix_web::web;
use serde_json::{Value, json};

use crate::{
    pair::{DELETION, Pair, SECRET, Visitor},
    support::{
        django::{PASSWORD, USER},
        logins,
        site::Site,
    },
};

/// Our site with logins, on the database of the pair.
fn site(pair: &Pair, secret: SecretKey) -> Site {
    let db = pair.db.clone();
    Site::serve(2, async move || {
        let store = db.store(secret.clone()).await;
        let auth = Auth::new(Users::of(&store).unwrap(), secret).unwrap();
        move |config: &mut web::ServiceConfig| {
            config.service(
                web::scope("")
                    .wrap(AuthMiddleware::new(auth.clone()))
                    .wrap(SessionMiddleware::new(store.clone()))
                    .route("/ops", web::post().to(logins::ops)),
            );
        }
    })
}

fn ours(pair: &Pair) -> Site {
    site(pair, SecretKey::new(SECRET))
}

/// A superuser of a scenario alone, and a browser in which it is logged in at Django's admin.
fn superuser(pair: &Pair, name: &str) -> Visitor {
    pair.visitor().run(&pair.django, &json!([["create_superuser", name, PASSWORD]]));
    another(pair, name)
}

/// Another browser of that user.
fn another(pair: &Pair, name: &str) -> Visitor {
    let mut visitor = pair.visitor();
    let reply = pair.django.try_login(&mut visitor.client, name, PASSWORD);
    assert_eq!(reply.status, 302, "{}", reply.text());
    visitor
}

fn user(visitor: &mut Visitor, server: &dyn crate::pair::Server) -> Value {
    visitor.run(server, &json!([["user"]])).remove(0)
}

fn enters_admin(visitor: &mut Visitor, pair: &Pair) -> bool {
    match visitor.get(&pair.django, "/admin/").status {
        200 => true,
        302 => false,
        other => panic!("the admin answers {other}"),
    }
}

pub(crate) fn login_at_django(pair: &Pair) {
    let ours = ours(pair);
    let mut visitor = pair.user();
    let key = visitor.the_key();
    let results = visitor.run(&ours, &json!([["user"], ["perms"], ["keys"]]));
    assert_eq!(results[0], USER);
    let mut perms = visitor.run(&pair.django, &json!([["perms"]]));
    assert_eq!(results[1], perms.remove(0), "a superuser has all that there are");
    assert_eq!(results[2], json!(["_auth_user_id", "_auth_user_backend", "_auth_user_hash"]));
    assert_eq!(visitor.the_key(), key);
    // Once more as the same user: nothing changes hands.
    visitor.run(&ours, &json!([["set", "cart", 1], ["login", USER]]));
    assert_eq!(visitor.the_key(), key);
    assert_eq!(visitor.run(&pair.django, &json!([["user"], ["get", "cart"]])), [json!(USER), json!(1)]);
}

pub(crate) fn login_here(pair: &Pair) {
    let ours = ours(pair);
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["set", "cart", [7]]]));
    let mut old = visitor.clone();
    visitor.run(&ours, &json!([["login", USER]]));
    assert_ne!(visitor.key(), old.key());
    assert!(enters_admin(&mut visitor, pair));
    assert_eq!(visitor.get(&pair.django, "/admin/auth/user/").status, 200);
    assert_eq!(visitor.run(&pair.django, &json!([["user"], ["get", "cart"]])), [json!(USER), json!([7])]);
    assert_eq!((user(&mut old, &pair.django), enters_admin(&mut old, pair)), (Value::Null, false));
    let page = visitor.get(&pair.django, "/admin/auth/user/1/change/").text();
    assert!(page.contains("name=\"last_login_0\" value=\"20"), "last_login is set, and Django reads it");
}

pub(crate) fn login_as_another(pair: &Pair) {
    let ours = ours(pair);
    let (mut here, mut there) = (superuser(pair, "carol"), another(pair, "carol"));
    here.run(&ours, &json!([["set", "cart", 1]]));
    there.run(&ours, &json!([["set", "cart", 1]]));
    let old = here.the_key();
    here.run(&ours, &json!([["login", USER]]));
    there.run(&pair.django, &json!([["login", USER]]));
    for visitor in [&mut here, &mut there] {
        for server in [&pair.django as &dyn crate::pair::Server, &ours] {
            let program = json!([["user"], ["get", "cart"]]);
            assert_eq!(visitor.run(server, &program), [json!(USER), Value::Null], "another user's cart");
        }
    }
    assert_eq!(pair.db.row(&old), None);
}

pub(crate) fn logout(pair: &Pair) {
    let ours = ours(pair);
    let mut visitor = pair.user();
    let (key, mut old) = (visitor.the_key(), visitor.clone());
    let reply = visitor.ask(&ours, &json!([["logout"]]));
    assert_eq!(reply.set_cookies(), [DELETION]);
    assert_eq!((visitor.key(), pair.db.row(&key)), (None, None));
    assert!(!enters_admin(&mut old, pair));

    let mut visitor = pair.visitor();
    visitor.run(&ours, &json!([["login", USER]]));
    let (key, mut old) = (visitor.the_key(), visitor.clone());
    let reply = visitor.submit(&pair.django, "/admin/", "/admin/logout/", &[]);
    assert_eq!((reply.status, pair.db.row(&key)), (200, None));
    assert_eq!(user(&mut old, &ours), Value::Null);
}

pub(crate) fn password_at_django(pair: &Pair) {
    let ours = ours(pair);
    let (mut visitor, mut elsewhere) = (superuser(pair, "dave"), another(pair, "dave"));
    let mut of_ours = pair.visitor();
    of_ours.run(&ours, &json!([["login", "dave"], ["set", "cart", 1]]));
    for visitor in [&mut visitor, &mut elsewhere, &mut of_ours] {
        assert_eq!(user(visitor, &ours), "dave");
    }
    let new = "battery staple";
    let fields = [("old_password", PASSWORD), ("new_password1", new), ("new_password2", new)];
    let page = "/admin/password_change/";
    assert_eq!(visitor.submit(&pair.django, page, page, &fields).status, 302);
    assert_eq!(user(&mut visitor, &ours), "dave", "the session that changed it");
    for mut other in [elsewhere, of_ours] {
        let key = other.the_key();
        let reply = other.ask(&ours, &json!([["user"]]));
        assert_eq!(reply.json()["results"], json!([null]));
        assert_eq!((reply.set_cookies(), pair.db.row(&key)), (vec![DELETION], None));
    }
}

pub(crate) fn password_here(pair: &Pair) {
    let ours = ours(pair);
    let (mut visitor, mut elsewhere) = (superuser(pair, "erin"), another(pair, "erin"));
    visitor.run(&pair.django, &json!([["set", "cart", 1]]));
    let mut old = visitor.clone();
    visitor.run(&ours, &json!([["change_password", "battery staple"]]));
    assert_ne!(visitor.key(), old.key());
    assert!(enters_admin(&mut visitor, pair));
    assert_eq!(visitor.run(&pair.django, &json!([["user"], ["get", "cart"]])), [json!("erin"), json!(1)]);
    let key = elsewhere.the_key();
    assert!(!enters_admin(&mut elsewhere, pair) && !enters_admin(&mut old, pair));
    assert_eq!(pair.db.row(&key), None, "Django has flushed it");
}

/// Sends the admin's form of a user.
fn change(pair: &Pair, admin: &mut Visitor, id: &str, fields: &[(&str, &str)]) {
    let page = format!("/admin/auth/user/{id}/change/");
    let mut all = vec![("date_joined_0", "2026-01-01"), ("date_joined_1", "00:00:00")];
    all.extend(fields);
    let reply = admin.submit(&pair.django, &page, &page, &all);
    assert_eq!(reply.status, 302, "{}", reply.text());
}

/// The primary key of the user who is logged in.
fn id_of(visitor: &mut Visitor, pair: &Pair) -> String {
    visitor.look(&pair.django, "_auth_user_id").as_str().unwrap().to_owned()
}

pub(crate) fn deactivated(pair: &Pair) {
    let (ours, mut admin) = (ours(pair), pair.user());
    let mut visitor = superuser(pair, "frank");
    let (id, key) = (id_of(&mut visitor, pair), visitor.the_key());
    assert_eq!(user(&mut visitor, &ours), "frank");
    change(pair, &mut admin, &id, &[("username", "frank"), ("is_staff", "on")]);
    assert_eq!(user(&mut visitor, &ours), Value::Null);
    assert!(visitor.the_key() == key && pair.db.row(&key).is_some(), "the session stays, as in Django");
    assert_eq!(visitor.ask(&ours, &json!([["login", "frank"]])).status, 403);
    assert!(!enters_admin(&mut visitor, pair));
    change(pair, &mut admin, &id, &[("username", "frank"), ("is_staff", "on"), ("is_active", "on")]);
    assert_eq!(user(&mut visitor, &ours), "frank");
    assert!(enters_admin(&mut visitor, pair));
}

pub(crate) fn permissions(pair: &Pair) {
    let (ours, mut admin) = (ours(pair), pair.user());
    let mut visitor = superuser(pair, "grace");
    let id = id_of(&mut visitor, pair);
    let same = [("username", "grace"), ("is_staff", "on"), ("is_active", "on")];
    let with = |more: &[(&'static str, &'static str)]| [&same[..], more].concat();
    let group = "/admin/auth/group/add/";
    let reply = admin.submit(&pair.django, group, group, &[("name", "auditors"), ("permissions", "4")]);
    assert_eq!(reply.status, 302, "{}", reply.text());
    for fields in [
        with(&[]),
        with(&[("user_permissions", "1")]),
        with(&[("user_permissions", "1"), ("user_permissions", "7"), ("groups", "1")]),
        with(&[("groups", "1")]),
        with(&[]),
    ] {
        change(pair, &mut admin, &id, &fields);
        let of_ours = visitor.run(&ours, &json!([["perms"]]));
        assert_eq!(of_ours, visitor.run(&pair.django, &json!([["perms"]])), "{fields:?}");
        let expected = fields.len() - same.len();
        assert_eq!(of_ours[0].as_array().unwrap().len(), expected, "{fields:?}");
    }
}

pub(crate) fn rotated_secret(pair: &Pair) {
    let new = "a secret that came later";
    let (first, mut second) = (pair.user(), pair.user());
    let ours = site(pair, SecretKey::new(new).with_fallbacks([SECRET]));
    let django = pair.django_with(&[("SECRET_KEY", new), ("SECRET_KEY_FALLBACKS", SECRET)]);
    // Renewed here, then read by a Django that knows the new secret alone.
    let mut visitor = first.clone();
    assert_eq!(user(&mut visitor, &ours), USER);
    assert_ne!(visitor.key(), first.key());
    let key = visitor.the_key();
    let without = pair.django_with(&[("SECRET_KEY", new)]);
    assert_eq!((user(&mut visitor, &without), visitor.the_key()), (json!(USER), key));
    // Renewed there, then read here by a site that knows the new secret alone.
    assert_eq!(user(&mut second, &django), USER);
    let key = second.the_key();
    let without = site(pair, SecretKey::new(new));
    assert_eq!((user(&mut second, &without), second.the_key()), (json!(USER), key));
}
