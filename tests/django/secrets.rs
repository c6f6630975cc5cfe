//! Secrets that are new, old or wrong.

use std::{
    thread,
    time::{Duration, Instant},
};

use actix_django_session::{SecretKey, SessionSettings};
use serde_json::{Value, json};

use crate::{
    pair::{Pair, SECRET, Server},
    support::{django::USER, logs, proc::PATIENCE, site::Site},
};

const NEW_SECRET: &str = "the next secret";
pub(crate) fn rotation(pair: &Pair) {
    let with_fallback = [("SECRET_KEY", NEW_SECRET), ("SECRET_KEY_FALLBACKS", SECRET)];
    let django_both = pair.django_with(&with_fallback);
    let django_new = pair.django_with(&[("SECRET_KEY", NEW_SECRET)]);
    let settings = SessionSettings::default;
    let ours_both = pair.site(settings(), SecretKey::new(NEW_SECRET).with_fallbacks([SECRET]));
    let ours_new = pair.site(settings(), SecretKey::new(NEW_SECRET));
    let signed_by = |key: &str, secret: &str| {
        let stored = pair.db.row(key).unwrap().stored;
        pair.db.codec(secret).decode(str::from_utf8(&stored).unwrap()).is_ok()
    };

    // Each side writes under the old key, the other one renews it.
    for (old, both, other_both, new) in [
        (
            &pair.django as &dyn Server,
            &ours_both as &dyn Server,
            &django_both as &dyn Server,
            &django_new as &dyn Server,
        ),
        (&pair.ours, &django_both, &ours_both, &ours_new),
    ] {
        let mut visitor = pair.visitor();
        visitor.run(old, &json!([["set", "cart", [1, 2]]]));
        let key = visitor.the_key();
        assert!(signed_by(&key, SECRET) && !signed_by(&key, NEW_SECRET));
        assert_eq!(visitor.look(both, "cart"), json!([1, 2]));
        assert!(signed_by(&visitor.the_key(), SECRET), "reading renews nothing");
        visitor.run(both, &json!([["set", "seen", true]]));
        let renewed = visitor.the_key();
        assert!(signed_by(&renewed, NEW_SECRET) && !signed_by(&renewed, SECRET));
        let items = json!([[["cart", [1, 2]], ["seen", true]]]);
        for server in [other_both, new, both] {
            assert_eq!(Value::from(visitor.run(server, &json!([["items"]]))), items, "{}", server.name());
        }
        pair.keeps(&visitor, &key);
    }

    // A user: Django verifies its hash by the fallback, stores that of the new key, and cycles.
    let mut visitor = pair.user();
    let hash = visitor.look(&pair.ours, "_auth_user_hash");
    visitor.run(&ours_both, &json!([["set", "cart", 3]]));
    let key = visitor.the_key();
    assert_eq!(visitor.get(&django_both, "/admin/").status, 200);
    assert_ne!(visitor.the_key(), key);
    for ours in [&ours_both, &ours_new] {
        assert_eq!(visitor.run(ours, &json!([["user"], ["get", "cart"]])), [json!("1"), json!(3)]);
    }
    assert_ne!(visitor.look(&ours_new, "_auth_user_hash"), hash);
    assert_eq!(visitor.get(&django_new, "/admin/").status, 200);
}

pub(crate) fn wrong_secret(pair: &Pair) {
    let mut visitor = pair.user();
    visitor.run(&pair.ours, &json!([["set", "cart", [1, 2]]]));
    let key = visitor.the_key();
    let row = pair.db.row(&key);
    let settings = SessionSettings::default();
    let sites = [
        (false, pair.misled_site(settings.clone())),
        (true, pair.misled_site(settings.save_every_request(true))),
    ];
    // Requests that change nothing, and requests that create another session.
    let harmless = [
        json!([["get", "cart"], ["keys"], ["has", "cart"], ["user"]]),
        json!([["expiry_age"], ["browser_close"], ["pop", "cart"], ["del", "cart"]]),
        json!([]),
        json!([["clear"]]),
        json!([["save"]]),
        json!([["modified"]]),
        json!([["get", "cart"], ["status", 500]]),
        json!([["set", "cart", 0], ["status", 500]]),
        json!([["set", "cart", 0], ["status", 503]]),
        json!([["cycle_key"], ["status", 500]]),
        json!([["set", "cart", 0], ["raise"]]),
    ];
    let writes = [
        json!([["set", "cart", 0]]),
        json!([["incr", "n"], ["save"], ["incr", "n"]]),
        json!([["cycle_key"]]),
        json!([["clear"], ["update", {"cart": 0}]]),
        json!([["set_expiry", 10]]),
    ];
    let _alone = pair.alone_with_logs();
    let (logs, of_sites) = (logs::capture_all_threads(), sites.each_ref().map(|(_, site)| site.logs()));
    let (mut loads, mut keys) = (0, vec![key.clone()]);
    let mut check = |every: &bool, site: &Site, program: &Value, writes: bool| {
        let mut tab = visitor.clone();
        let reply = tab.ask(site, program);
        loads += usize::from(*every || *program != json!([]));
        let what = format!("{program}, save_every_request {every}: {reply:?}");
        assert_eq!(pair.db.row(&key), row, "{what}");
        assert_eq!(tab.the_key() == key, !writes, "only a write begins a session of its own: {what}");
        keys.push(tab.the_key());
        // The row is the visitor's own again as soon as their browser presents it again.
        let mut tab = visitor.clone();
        assert_eq!(tab.run(&pair.django, &json!([["user"], ["get", "cart"]])), [json!(USER), json!([1, 2])]);
        assert_eq!(tab.get(&pair.django, "/admin/").status, 200, "{what}");
    };
    for (every, site) in &sites {
        for program in &harmless {
            check(every, site, program, false);
        }
        for program in &writes {
            check(every, site, program, true);
        }
    }
    let seen = visitor.clone().get(&sites[1].1, "/untouched");
    assert!(seen.set_cookies().is_empty(), "the cookie stays");
    assert_eq!(pair.db.row(&key), row);
    // Only an explicit end ends it.
    visitor.run(&sites[0].1, &json!([["flush"]]));
    assert_eq!((visitor.key(), pair.db.row(&key)), (None, None));

    drop(sites);
    let logged = || of_sites.iter().map(|logs| logs.total("Session data corrupted")).sum::<usize>();
    let start = Instant::now();
    while logged() < loads + 2 && start.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(logged(), loads + 2, "each load, and each of the two saves that met it: {of_sites:#?}");
    for key in &keys {
        assert!(logs.with(key).is_empty(), "a session's key in the log: {:?}", logs.with(key));
    }
}
