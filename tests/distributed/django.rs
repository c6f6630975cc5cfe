//! Django on the table that is spread over three servers, beside this crate.

use actix_django_session::{SecretKey, SessionSettings, Store};
use serde_json::json;

use crate::{
    support::{
        django::{Django, Version},
        http::Client,
        site::Site,
        visitors::run,
    },
    tables::Sharded,
    target::SECRET,
};

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn django_shares_the_sessions_of_three_servers() {
    let sharded = Sharded::start();
    let url = sharded.coordinator.url();
    let ours = Site::start(SessionSettings::default(), {
        let url = url.clone();
        async move || Store::connect(&url, SecretKey::new(SECRET)).await.unwrap()
    });
    for version in Django::versions() {
        let django = Django::start(&version, &url, &[("SECRET_KEY", SECRET)]);
        let sites = [django.url("/ops"), ours.url("/ops")];
        for _ in 0..12 {
            for (here, there) in [(0, 1), (1, 0)] {
                a_session(&version, &sites[here], &sites[there]);
            }
        }
        assert_eq!(sharded.rows().iter().sum::<u64>(), 0, "Django {}: all have logged out", version.name);
        clearing(&sharded, &django);
    }
}

/// From its creation to its logout, with a site on each side.
fn a_session(version: &Version, here: &str, there: &str) {
    let context = format!("Django {}, created at {here}", version.name);
    let mut visitor = Client::new();
    run(&mut visitor, here, &json!([["set", "n", 1], ["set", "who", "here"]]));
    let key = visitor.cookies["sessionid"].clone();
    assert_eq!(run(&mut visitor, there, &json!([["get", "who"], ["incr", "n"]]))[0], "here", "{context}");
    assert_eq!(run(&mut visitor, here, &json!([["get", "n"]])), [json!(2)], "{context}");
    let mut old = visitor.clone();
    run(&mut visitor, here, &json!([["cycle_key"]]));
    assert_ne!(visitor.cookies["sessionid"], key, "{context}");
    assert_eq!(run(&mut visitor, there, &json!([["get", "n"]])), [json!(2)], "{context}");
    assert_eq!(run(&mut old, there, &json!([["get", "n"]])), [json!(null)], "{context}: the old key works");
    run(&mut visitor, there, &json!([["cycle_key"], ["set", "n", 3]]));
    assert_eq!(run(&mut visitor, here, &json!([["get", "n"]])), [json!(3)], "{context}");
    let mut old = visitor.clone();
    run(&mut visitor, here, &json!([["flush"]]));
    assert_eq!(run(&mut old, there, &json!([["get", "n"]])), [json!(null)], "{context}: logged out");
}

/// `manage.py clearsessions` deletes the expired rows of all servers.
fn clearing(sharded: &Sharded, django: &Django) {
    sharded.coordinator.query(
        "INSERT INTO django_session SELECT 'expired' || n, 'x', now() - interval '1 hour' \
         FROM generate_series(1, 300) n; \
         INSERT INTO django_session SELECT 'live' || n, 'x', now() + interval '1 hour' \
         FROM generate_series(1, 30) n",
    );
    assert!(sharded.rows().iter().all(|rows| *rows > 50), "{:?}", sharded.rows());
    django.manage("clearsessions");
    assert_eq!(sharded.rows().iter().sum::<u64>(), 30, "Django {}", django.version.name);
    sharded.coordinator.query("DELETE FROM django_session");
}
