//! The quickstart over HTTP, with SQLite.

use super::{Page, Server, decode, rows};
use crate::support::{http::Client, proc::TempDir};

#[test]
fn visits_are_counted_for_each_visitor_and_outlive_the_server() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let (mut ada, mut bob) = (Client::new(), Client::new());
    let first = ada.get(&server.url);
    let cookie = first.set_cookie("sessionid").unwrap();
    assert!(cookie.contains("HttpOnly; Max-Age=1209600; Path=/; SameSite=Lax"), "{cookie}");
    assert_eq!(first.header("vary"), Some("Cookie"));
    assert_eq!(Page::of(first).visits(), 1);
    assert_eq!(server.page(&mut ada).visits(), 2);
    assert_eq!(server.page(&mut bob).visits(), 1);
    assert_eq!(rows(dir.path()).len(), 2);

    drop(server);
    let server = Server::sqlite(dir.path());
    let page = server.page(&mut ada);
    assert_eq!(page.visits(), 3);
    assert_eq!(page.row()[0], ada.cookies["sessionid"]);
    assert_eq!(decode(page.row()[1]), "{}");
    assert!(
        rows(dir.path()).iter().any(|(key, _, expires)| [key, expires] == [page.row()[0], page.row()[2]])
    );
}

#[test]
fn values_are_set_and_removed_as_typed() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    let typed = [
        ("text", "Ada & Bob", "&quot;Ada &amp; Bob&quot;", r#""Ada & Bob""#),
        ("umlaut", "Zoë", r"&quot;Zo\u00eb&quot;", r#""Zo\u00eb""#),
        ("number", "42", "42", "42"),
        (
            "long",
            "123456789012345678901234567890",
            "123456789012345678901234567890",
            "123456789012345678901234567890",
        ),
        ("float", "1.50", "1.50", "1.50"),
        (
            "list",
            r#"[1, {"b": null, "a": true}]"#,
            r#"[1, {&quot;b&quot;: null, &quot;a&quot;: true}]"#,
            r#"[1, {"b": null, "a": true}]"#,
        ),
        ("quoted", r#""42""#, "&quot;42&quot;", r#""42""#),
        ("nothing", "", "&quot;&quot;", r#""""#),
        ("broken", "{1", "&quot;{1&quot;", r#""{1""#),
    ];
    let mut stored = Vec::new();
    for (key, value, shown, json) in typed {
        let page = server.post(&mut client, "/set", &[("key", key), ("value", value)]);
        assert!(page.has(key, shown) && page.message() == "Stored.", "{key}: {:?}", page.items());
        stored.push(format!("\"{key}\":{json}"));
    }
    assert_eq!(rows(dir.path())[0].1, format!("{{{}}}", stored.join(",")));

    let page = server.post(&mut client, "/remove", &[("key", "list")]);
    assert!(page.items().len() == typed.len() && !page.items().iter().any(|(key, _)| *key == "list"));
    assert!(!rows(dir.path())[0].1.contains("list"));
}

#[test]
fn djangos_keys_are_refused_without_a_load() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    server.page(&mut client);
    for path in ["/set", "/remove"] {
        let before = rows(dir.path());
        let reply =
            client.post_form(&format!("{}{path}", server.url), &[("key", "_auth_user_id"), ("value", "1")]);
        assert_eq!((reply.status, reply.set_cookie("sessionid"), reply.header("vary")), (303, None, None));
        assert_eq!(rows(dir.path()), before);
        let page = Page::of(client.follow(&reply));
        assert!(page.message().contains("begin with _"), "{}", page.message());
        assert_eq!(page.items().len(), 1);
    }
    // Django's own keys are shown, with no button to remove them.
    let page = server.post(&mut client, "/expiry", &[("expiry", "minute")]);
    assert!(page.has("_session_expiry", "60"));
    assert!(!page.0.contains("Remove _session_expiry"));
}

#[test]
fn input_is_escaped() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    let nasty = r#"<script>alert('x')</script>"><b {visits}"#;
    let page = server.post(&mut client, "/set", &[("key", nasty), ("value", nasty)]);
    assert!(!page.0.contains("<script") && !page.0.contains("\"><b "), "{}", page.0);
    assert_eq!(page.items().len(), 2);
    // Its button sends the same key.
    let page = server.post(&mut client, "/remove", &[("key", nasty)]);
    assert_eq!(page.items().len(), 1);
    let page = Page::of(client.get(&format!("{}/?did=%3Cscript%3E", server.url)));
    assert_eq!(page.message(), "");
    // An unexpected value under the page's own key breaks nothing.
    for value in ["18446744073709551615", "many", "-1", "1e999", "[]"] {
        let page = server.post(&mut client, "/set", &[("key", "visits"), ("value", value)]);
        assert!(page.visits() == 1 || page.visits() == u64::MAX);
    }
}

#[test]
fn rotating_keeps_the_data_and_flushing_ends_the_session() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    server.post(&mut client, "/set", &[("key", "name"), ("value", "Ada")]);
    let before = rows(dir.path());
    let stale = client.clone();

    let reply = client.post_form(&format!("{}/rotate", server.url), &[]);
    let after = rows(dir.path());
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(after[0].0, before[0].0);
    assert_eq!(after[0].1, before[0].1);
    assert_eq!(client.cookies["sessionid"], after[0].0);
    let page = Page::of(client.follow(&reply));
    assert_eq!((page.visits(), page.row()[0]), (2, after[0].0.as_str()));
    assert!(page.has("name", "&quot;Ada&quot;") && page.message().starts_with("Same session, new key"));
    // The old key is nobody's.
    assert_eq!(server.page(&mut stale.clone()).visits(), 1);

    let reply = client.post_form(&format!("{}/flush", server.url), &[]);
    let cookie = reply.set_cookie("sessionid").unwrap();
    assert!(cookie.starts_with("sessionid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT"), "{cookie}");
    assert!(!rows(dir.path()).iter().any(|(key, ..)| *key == after[0].0));
    let page = Page::of(client.follow(&reply));
    assert_eq!((page.visits(), page.items().len()), (1, 1));
    assert!(page.message().starts_with("The old session is gone"));
    assert_ne!(client.cookies["sessionid"], after[0].0);
}

#[test]
fn the_expiry_can_be_chosen() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    for (choice, attributes, item, says) in [
        ("minute", "HttpOnly; Max-Age=60; Path=/", Some("60"), "expires in 60 seconds"),
        ("browser", "; HttpOnly; Path=/; SameSite=Lax", Some("0"), "expires with the browser"),
        ("default", "HttpOnly; Max-Age=1209600; Path=/", None, "expires in 14 days"),
    ] {
        let reply = client.post_form(&format!("{}/expiry", server.url), &[("expiry", choice)]);
        let cookie = reply.set_cookie("sessionid").unwrap();
        assert!(cookie.contains(attributes), "{choice}: {cookie}");
        let page = Page::of(client.follow(&reply));
        let found = page.items().into_iter().find(|(key, _)| *key == "_session_expiry");
        assert_eq!(found.map(|(_, value)| value), item);
        assert_eq!(page.between("id=\"expires\">", "</b>"), says);
    }
    let reply = client.post_form(&format!("{}/expiry", server.url), &[("expiry", "never")]);
    assert_eq!(reply.status, 400);
}

#[test]
fn a_health_check_touches_nothing() {
    let dir = TempDir::new("quickstart");
    let server = Server::sqlite(dir.path());
    let mut client = Client::new();
    server.page(&mut client);
    let before = rows(dir.path());
    let reply = client.get(&format!("{}/health", server.url));
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok\n"));
    assert_eq!((reply.set_cookie("sessionid"), reply.header("vary")), (None, None));
    assert_eq!(rows(dir.path()), before);
}
