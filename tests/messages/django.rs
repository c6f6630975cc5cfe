//! A Django site and ours, which show each other's messages over HTTP.

use actix_django_session::{
    SecretKey, SessionSettings, Store,
    messages::{MessageSettings, MessageStorage},
};
use serde_json::{Value, json};

use crate::{
    app,
    support::{
        django::{Django, Version},
        http::Client,
        proc::TempDir,
        site::Site,
    },
};

const SECRET: &str = "a secret that both sites know";

/// Both sites, on one SQLite database.
struct Pair {
    django: Django,
    ours: Site,
    _dir: TempDir,
}

impl Pair {
    fn start(version: &Version, storage: MessageStorage) -> Self {
        let dir = TempDir::new("messages");
        let url = format!("sqlite:///{}/db.sqlite3", dir.path().display());
        let class = match storage {
            MessageStorage::Cookie => "cookie.CookieStorage",
            MessageStorage::Session => "session.SessionStorage",
            _ => "fallback.FallbackStorage",
        };
        let class = format!("django.contrib.messages.storage.{class}");
        let django = Django::start(version, &url, &[("SECRET_KEY", SECRET), ("MESSAGE_STORAGE", &class)]);
        django.prepare();
        let ours = Site::serve(1, async move || {
            let secret = SecretKey::new(SECRET);
            let store = Store::connect(&url, secret.clone()).await.unwrap();
            let settings = MessageSettings::default().storage(storage);
            app::configure(store, SessionSettings::default(), secret, settings)
        });
        Self { django, ours, _dir: dir }
    }

    /// The pages for programs of one site and of the other, in both directions.
    fn both_ways(&self) -> [[String; 2]; 2] {
        let (django, ours) = (self.django.url("/ops"), self.ours.url("/ops"));
        [[django.clone(), ours.clone()], [ours, django]]
    }
}

/// Runs a program, and returns its last result.
fn run(visitor: &mut Client, page: &str, program: &Value) -> Value {
    let reply = visitor.post_json(page, program);
    assert_eq!(reply.status, 200, "{page}: {}", reply.text());
    reply.json()["results"].as_array_mut().unwrap().pop().unwrap()
}

fn show(visitor: &mut Client, page: &str) -> Value {
    run(visitor, page, &json!([["messages"]]))
}

fn each(storage: MessageStorage, scenario: fn(&Pair)) {
    let versions = Django::versions();
    assert!(!versions.is_empty());
    for version in versions {
        println!("Django {}, {storage:?}", version.name);
        scenario(&Pair::start(&version, storage));
    }
}

/// One side adds, the other shows; then they are gone on both.
fn add_and_show(pair: &Pair) {
    for [from, to] in pair.both_ways() {
        let visitor = &mut Client::new();
        let program = json!([
            ["add_message", 25, "caf\u{e9} \u{2603} \u{1f600} <i>", "one two", false],
            ["add_message", 40, "<b>safe</b>", null, true],
            ["add_message", 99, "own level", "", false],
        ]);
        run(visitor, &from, &program);
        // It stays until it is shown, whoever counts or adds.
        let count = run(visitor, &to, &json!([["add_message", 30, "more", null, false], ["count_messages"]]));
        assert_eq!(count, 4);
        let expected = json!([
            [25, "caf\u{e9} \u{2603} \u{1f600} <i>", "one two", "one two success", "success", false],
            [40, "<b>safe</b>", "", "error", "error", true],
            [99, "own level", "", "", "", false],
            [30, "more", "", "warning", "warning", false],
        ]);
        assert_eq!(show(visitor, &to), expected, "from {from} to {to}");
        assert_eq!(show(visitor, &to), json!([]));
        assert_eq!(show(visitor, &from), json!([]));
    }
}

/// More than the cookie can contain.
fn overflow(pair: &Pair) {
    for [from, to] in pair.both_ways() {
        let visitor = &mut Client::new();
        let texts: Vec<String> = (0..24).map(|n| app::noise(300, n)).collect();
        for (page, texts) in [(&from, &texts[..10]), (&to, &texts[10..20]), (&from, &texts[20..])] {
            let program = texts.iter().map(|text| json!(["message", text]));
            run(visitor, page, &program.collect());
            assert!(visitor.cookies.get("messages").is_none_or(|value| value.len() <= 2048));
        }
        assert!(visitor.cookies.contains_key("sessionid"), "some are in the session");
        let shown = show(visitor, &to);
        let shown: Vec<_> = shown.as_array().unwrap().iter().map(|m| m[1].as_str().unwrap()).collect();
        assert_eq!(shown, texts, "from {from} to {to}");
        assert_eq!(show(visitor, &from), json!([]));
        assert!(!visitor.cookies.contains_key("messages"));
    }
}

/// Django's own template renders what we added.
fn rendered_by_django(pair: &Pair) {
    let visitor = &mut Client::new();
    let program = json!([
        ["add_message", 30, "1 < 2", "tag", false],
        ["add_message", 25, "<b>safe</b>", null, true],
        ["status", 302],
    ]);
    assert_eq!(visitor.post_json(&pair.ours.url("/ops"), &program).status, 302);
    let page = visitor.get(&pair.django.url("/page")).text();
    assert!(page.contains("<li class=\"tag warning\">1 &lt; 2</li>"), "{page}");
    assert!(page.contains("<li class=\"success\"><b>safe</b></li>"), "{page}");
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn fallback() {
    each(MessageStorage::Fallback, |pair| {
        add_and_show(pair);
        overflow(pair);
        rendered_by_django(pair);
    });
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn session() {
    each(MessageStorage::Session, |pair| {
        add_and_show(pair);
        overflow(pair);
        rendered_by_django(pair);
    });
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn cookie() {
    each(MessageStorage::Cookie, |pair| {
        add_and_show(pair);
        rendered_by_django(pair);
    });
}
