//! `list`, `show`, `revoke` and `stats` on a table that three Djangos have filled.

use std::{
    collections::BTreeSet,
    io::Read as _,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use actix_django_session::{SecretKey, Session, Store};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    Cli, NOT_CHECKED, Output,
    fill::{Filled, SECRET, Site, count, made, python},
    support::{
        django::Django,
        proc::{self, PATIENCE},
    },
};

fn keys(output: &Output) -> BTreeSet<String> {
    output.lines().iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect()
}

fn of<'a>(sessions: impl Iterator<Item = &'a Filled>, which: impl Fn(&Filled) -> bool) -> BTreeSet<String> {
    sessions.filter(|session| which(session)).map(|session| session.key.clone()).collect()
}

#[test]
#[ignore = "needs PostgreSQL and Django: run tests/run"]
fn sessions_of_django() {
    let site = Site::fill();
    let cli = site.cli();
    list(&site, &cli);
    show(&site, &cli);
    stats(&site, &cli);
    revoke(&site, &cli);
}

fn list(site: &Site, cli: &Cli) {
    let whole = cli.clone().showing_keys();
    let listed = whole.run(&["list", "--json", "--full-keys"]).code(0).quiet();
    let mut live = of(site.readable().chain(&site.strange), |session| !session.expired);
    live.extend(site.old.iter().map(|(key, _)| key.clone()).chain(site.garbage.iter().cloned()));
    assert_eq!(keys(&listed), live);
    let unreadable = listed.lines().iter().filter(|line| !line["unreadable"].is_null()).count();
    let strange = site.strange.iter().filter(|session| !session.expired).count();
    // An empty text is an empty session.
    assert_eq!(unreadable, strange + site.garbage.len() - 1);
    let expired = whole.run(&["list", "--json", "--full-keys", "--expired"]).code(0);
    assert_eq!(keys(&expired), of(site.readable().chain(&site.strange), |session| session.expired));
    for user in ["0", "3", "6"] {
        let listed = whole.run(&["list", "--user", user, "--json", "--full-keys"]).code(0);
        let theirs = of(site.readable(), |session| !session.expired && session.user.as_deref() == Some(user));
        assert!(!theirs.is_empty());
        assert_eq!(keys(&listed), theirs, "user {user}");
    }
    assert_eq!(cli.run(&["list", "--user", "nobody"]).code(0).quiet().out, "");
    let plain = cli.run(&["list", "--limit", "5"]).code(0).quiet();
    assert_eq!(plain.out.lines().count(), 5);
    assert!(
        plain.out.lines().all(|line| line.chars().nth(4) == Some('…') && line.contains(" UTC  in ")),
        "{plain:?}"
    );
    assert_eq!(cli.run(&["list", "--limit", "0"]).code(0).out, "");
    let without = Cli::on(site.database.url()).showing_keys().run(&["list", "--json", "--full-keys"]).code(0);
    let unreadable = without.lines().iter().filter(|line| !line["unreadable"].is_null()).count();
    assert_eq!((keys(&without), unreadable), (live, site.garbage.len() - 1));
    assert!(without.lines().iter().all(|line| line["signature_checked"] == false));
    without.complains(NOT_CHECKED);
    assert!(listed.lines().iter().all(|line| line["signature_checked"] == true));
    let strangers = cli.clone().secret("a secret of nobody").run(&["list"]).code(0);
    assert!(strangers.out.contains("unreadable") && !strangers.out.contains('\u{1b}'));
}

fn show(site: &Site, cli: &Cli) {
    for session in site.readable().step_by(5) {
        let raw = cli.run(&["show", "--raw", &session.key]).code(0).quiet();
        if let Some(data) = &session.data {
            let mut raw: Value = raw.json();
            raw.as_object_mut().unwrap().remove("_session_expiry");
            let mut data: Value = serde_json::from_str(data).unwrap();
            data.as_object_mut().unwrap().remove("_session_expiry");
            assert_eq!(raw, data);
        } else {
            let raw = raw.json();
            assert_eq!([&raw["price"], &raw["raw"]], [&json!("9.50"), &json!("<bytes>")], "{raw}");
        }
    }
    let session = site.present.iter().find(|session| session.user.is_some() && !session.expired).unwrap();
    let plain = cli.run(&["show", &session.key]).code(0).quiet();
    let plain = plain.says("signed   by the secret key").says("format   JSON, Django 3.1 and later");
    let plain = plain
        .says(&format!("user     {}", session.user.as_ref().unwrap()))
        .says("  \"nested\": {\n    \"a\": [");
    assert!(plain.out.starts_with(&format!("key      {}…\n", &session.key[..4])));
    let data = plain.out.split_once("\n\n").unwrap().1;
    assert_eq!(data, format!("{}\n", python_indent(session.data.as_ref().unwrap())));
    // By standard input, and whole keys where they are wanted.
    let piped = cli
        .clone()
        .showing_keys()
        .run_with(&["show", "-", "--full-keys"], format!("{}\n", session.key))
        .code(0);
    assert!(piped.out.starts_with(&format!("key      {}\n", session.key)));
    // Every kind of session, expired ones too.
    let all = |key: &str| cli.run(&["show", "--json", key]).code(0).quiet().json();
    assert_eq!(all(&site.former[0].key)["signed_by"], "fallback 1");
    let old = all(&site.old[1].0);
    assert_eq!([&old["signed_by"], &old["format"]], [&json!("fallback 2"), &json!("Django before 3.1")]);
    let expired = all(&site.present.iter().find(|session| session.expired).unwrap().key);
    assert_eq!([&expired["expired"], &expired["compressed"]], [&json!(true), &json!(false)]);
    assert_eq!(all(&site.present[1].key)["compressed"], true);
    assert_eq!(all(&site.pickled[0].key)["serializer"], "pickle");
    // Without a secret.
    let without = Cli::on(site.database.url()).run(&["show", "--json", &site.strange[0].key]).code(0);
    let without = without.complains(NOT_CHECKED).json();
    assert_eq!(
        [&without["signature_checked"], &without["signed_by"], &without["user"]],
        [&json!(false), &json!(null), &json!(site.strange[0].user)]
    );
    assert_eq!(all(&site.present[0].key)["signature_checked"], true);
    let pickled =
        Cli::on(site.database.url()).run(&["show", &site.pickled[0].key]).code(0).says("format   pickle");
    pickled.says("signed   by an unknown secret, not checked");
    // A session that cannot be shown.
    cli.run(&["show", &site.strange[0].key]).code(1).says("stored ").complains("no secret key or fallback");
    for (index, key) in site.garbage.iter().enumerate().skip(1) {
        let output = cli.run(&["show", key]).code(1).complains("cannot be read");
        assert!(!output.out.contains('\u{1b}'), "garbage {index}");
    }
    for nobody in ["nobodynobodynobody", "short", "", "a\nb", &"x".repeat(5000)] {
        cli.run(&["show", "--", nobody]).code(4).complains("there is no session");
    }
    assert_eq!(cli.run(&["show", "--raw", "nobodynobodynobody"]).code(4).out, "");
}

/// `json.dumps(…, indent=2)` by a real Python.
fn python_indent(json: &str) -> String {
    let version = Django::versions().remove(0);
    let mut python = Command::new(python(&version));
    python
        .args(["-c", "import json, sys; print(json.dumps(json.loads(sys.stdin.read()), indent=2), end='')"]);
    proc::run("json.dumps", &mut python, json.as_bytes())
}

fn stats(site: &Site, cli: &Cli) {
    let stats = cli.run(&["stats", "--json"]).code(0).quiet().json();
    let [live, expired] =
        ["expire_date > now()", "expire_date <= now()"].map(|condition| site.count(condition));
    assert_eq!([&stats["live"], &stats["expired"]], [&json!(live), &json!(expired)]);
    let ends: u64 =
        stats["expiry"].as_object().unwrap().values().map(|number| number.as_u64().unwrap()).sum();
    assert_eq!((ends, &stats["sessions"]), (live + expired, &json!(live + expired)));
    let users = site.readable().filter(|session| !session.expired && session.user.is_some()).count();
    let users_of_old = site.old.iter().filter(|(_, json)| json.contains("_auth_user_id")).count();
    let unreadable = site.strange.iter().filter(|session| !session.expired).count() + site.garbage.len() - 1;
    assert_eq!(stats["sample_of_live"]["logged_in"], users + users_of_old);
    assert_eq!(stats["sample_of_live"]["unreadable"], unreadable);
    let largest = site.database.query("SELECT max(octet_length(session_data)) FROM django_session");
    assert_eq!(stats["stored_bytes"]["max"].to_string(), *largest[0][0].as_ref().unwrap());
    cli.run(&["stats"]).code(0).quiet().says("logged in").says("in 7 to 14 days");
    // Without a secret nothing is unverifiable, and the output says so.
    let unchecked =
        Cli::on(site.database.url()).run(&["stats", "--json"]).code(0).complains(NOT_CHECKED).json();
    assert_eq!([&stats["signature_checked"], &unchecked["signature_checked"]], [&json!(true), &json!(false)]);
    assert_eq!(unchecked["sample_of_live"]["unreadable"], site.garbage.len() - 1);
}

fn revoke(site: &Site, cli: &Cli) {
    let there = |key: &str| site.count(&format!("session_key = '{key}'")) == 1;
    let [one, two, three] = [&site.present[0].key, &site.strange[0].key, &site.garbage[0]];
    assert!(there(one) && there(two) && there(three));
    // No secret is needed where nothing is read.
    let cli_without = Cli::on(site.database.url());
    cli_without.run(&["revoke", one, two]).code(0).quiet().says("revoked 2 sessions\n");
    let again = cli_without.run_with(&["revoke", "-"], format!("{one}\n\n{three}\nx\n")).code(4);
    let again = again.says("revoked 1 session\n").complains(&format!("there is no session {}…", &one[..4]));
    assert_eq!(again.err.lines().count(), 2);
    assert!(!there(one) && !there(two) && !there(three));
    // A user: what cannot be read could be theirs.
    let left = |user: &str| {
        let theirs =
            site.readable().filter(|session| session.user.as_deref() == Some(user) && !session.expired);
        theirs.filter(|session| there(&session.key)).count()
    };
    let (three, four) = (left("3"), left("4"));
    assert!(three > 0 && four > 0);
    let output = cli.run(&["revoke", "--user", "3"]).code(1).says(&format!("revoked {three} sessions\n"));
    output.complains("cannot be read and could be the user's");
    assert_eq!((left("3"), left("4")), (0, four));
    let strange = site.strange.iter().chain(&[]).map(|session| format!("'{}'", session.key));
    let garbage = site.garbage.iter().map(|key| format!("'{key}'"));
    let unreadable: Vec<String> = strange.chain(garbage).collect();
    site.database
        .query(&format!("DELETE FROM django_session WHERE session_key IN ({})", unreadable.join(",")));
    cli.run(&["revoke", "--user", "4"]).code(0).quiet().says(&format!("revoked {four} sessions\n"));
    cli.run(&["revoke", "--user", "4"]).code(0).quiet().says("revoked 0 sessions\n");
    // All, after a yes.
    let all = site.count("true");
    cli_without.run(&["revoke", "--all"]).code(1).complains("add --yes");
    assert_eq!(site.count("true"), all);
    cli_without.run(&["revoke", "--all", "--yes"]).code(0).quiet().says(&format!("revoked {all} sessions\n"));
    assert_eq!(site.count("true"), 0);
    cli.run(&["list"]).code(0).quiet();
    cli.run(&["stats"]).code(0).quiet();
    cli.run(&["doctor"]).code(0).quiet().says("there is no session to try them on");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn many_are_revoked_in_batches_and_a_reader_may_leave() {
    let database = made(500, 3200);
    let cli = Cli::on(database.url()).secret(SECRET);
    for command in [&["list"][..], &["list", "--json"]] {
        let mut child = cli.start(command);
        let mut out = child.stdout.take().unwrap();
        out.read_exact(&mut [0; 8]).unwrap();
        drop(out);
        cli.end_of(child).code(0).quiet();
    }
    cli.run(&["revoke", "--all", "--yes"]).code(0).quiet().says("revoked 3,700 sessions\n");
    assert_eq!(count(database.url(), "true"), 0);
}

/// Twenty sessions of user 42, each of which changes its key every 8 ms until it is deleted, or it is time to
/// stop.
async fn rotate(database_url: &str, ready: &AtomicBool, stop: &AtomicBool) {
    let store = Store::connect(database_url, SecretKey::new(SECRET)).await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..20 {
        let session = Session::new(&store);
        session.insert("_auth_user_id", "42").unwrap();
        session.save().await.unwrap();
        sessions.push(session);
    }
    ready.store(true, Ordering::Relaxed);
    let rotating = sessions.iter().map(async |session| {
        while !stop.load(Ordering::Relaxed) {
            session.cycle_key().unwrap();
            if let Err(error) = session.save().await {
                assert!(error.is_interrupted(), "{error}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(8)).await;
        }
    });
    join_all(rotating).await;
}

/// Thousands of others' rows, so that the listing has many pages.
#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn sessions_that_change_their_keys_are_revoked() {
    let database = made(0, 6000);
    let cli = Cli::on(database.url()).secret(SECRET);
    let (ready, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let output = std::thread::scope(|scope| {
        let rotating = || actix_web::rt::System::new().block_on(rotate(database.url(), &ready, &stop));
        scope.spawn(rotating);
        proc::wait_until("there should be sessions", PATIENCE, || ready.load(Ordering::Relaxed));
        let output = cli.run(&["revoke", "--user", "42"]);
        let left = cli.run(&["list", "--user", "42"]);
        stop.store(true, Ordering::Relaxed);
        assert_eq!(left.out, "");
        output
    });
    assert_eq!(count(database.url(), "true"), 6000);
    output.code(0).quiet().says("revoked 20 sessions\n");
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn a_session_that_always_escapes_is_reported() {
    let database = made(0, 5);
    let cli = Cli::on(database.url()).secret(SECRET);
    let text = cli.run_with(&["encode"], "{\"_auth_user_id\":\"42\"}").code(0).out;
    // Each deleted row returns under another key, as if the visitor were always faster.
    database.query(&format!(
        "CREATE FUNCTION escape() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO django_session VALUES (md5(old.session_key), old.session_data, old.expire_date); \
         RETURN null; END $$; \
         CREATE TRIGGER escape AFTER DELETE ON django_session FOR EACH ROW EXECUTE FUNCTION escape(); \
         INSERT INTO django_session VALUES (md5('42'), '{}', now() + interval '1 day')",
        text.trim()
    ));
    let output = cli.run(&["revoke", "--user", "42"]).code(1);
    assert_eq!(output.out, "", "not all of them");
    output.complains("not all sessions of the user are ended, only 100").complains("deactivate the user");
    database.query("DROP TRIGGER escape ON django_session");
    cli.run(&["revoke", "--user", "42"]).code(0).quiet().says("revoked 1 session\n");
    assert_eq!(count(database.url(), "true"), 5);
}
