//! Sessions in PostgreSQL, with a real server.

mod columns;
mod errors;
mod isolation;
mod outages;
mod references;
mod semantics;
mod table;

use actix_django_session::{SecretKey, SessionSettings, Store};
use serde_json::json;

use crate::support::{http::Client, postgres::PrivateServer, site::Site};

fn secret() -> SecretKey {
    SecretKey::new("a secret that no log may hold")
}

async fn store(url: &str) -> Store {
    let store = Store::connect(url, secret()).await.unwrap();
    store.create_table().await.unwrap();
    store
}

/// The statements that the server logged as executed, without the checks and DDL of the test itself, and
/// without the look at the table on each new connection.
fn statements(log: &str) -> Vec<String> {
    let executed = log.lines().filter_map(|line| line.split_once("execute ").map(|(_, rest)| rest));
    let sql = executed.map(|rest| rest.split_once(": ").map_or(rest, |(_, sql)| sql));
    sql.filter(|sql| !sql.starts_with("WITH RECURSIVE tree")).map(str::to_owned).collect()
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn each_request_sends_as_few_statements_as_it_can() {
    let server = PrivateServer::start(&[("log_statement", "all"), ("fsync", "off")]);
    let url = server.url();
    let site = Site::start(SessionSettings::default(), async move || store(&url).await);
    let mut client = Client::new();
    let mut sent = |ops: serde_json::Value| {
        let before = statements(&server.log()).len();
        let reply = client.post_json(&site.url("/ops"), &ops);
        assert_eq!(reply.status, 200);
        let verbs = statements(&server.log()).split_off(before);
        verbs.iter().map(|sql| sql.split_whitespace().next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let nothing: [&str; 0] = [];
    assert_eq!(sent(json!([])), nothing, "without a cookie, untouched");
    assert_eq!(sent(json!([["get", "a"]])), nothing, "without a cookie, read");
    assert_eq!(sent(json!([["set", "a", 1]])), ["INSERT"]);
    assert_eq!(sent(json!([])), nothing, "with a cookie, untouched");
    assert_eq!(sent(json!([["get", "a"]])), ["SELECT"]);
    assert_eq!(sent(json!([["set", "b", 1], ["get", "a"]])), ["SELECT", "UPDATE"]);
    assert_eq!(sent(json!([["cycle_key"]])), ["SELECT", "UPDATE"]);
    assert_eq!(sent(json!([["cycle_key"], ["set", "c", 1]])), ["SELECT", "UPDATE"]);
    assert_eq!(sent(json!([["flush"], ["set", "d", 1]])), ["SELECT", "UPDATE"]);
    assert_eq!(sent(json!([["flush"]])), ["SELECT", "DELETE"]);
    assert!(!server.log().contains("BEGIN") || server.log().matches("BEGIN").count() == 1, "no transactions");
    let mut junk = Client::new();
    let before = statements(&server.log()).len();
    for cookie in
        ["sessionid=\"abcdefg\\000hij\"", "sessionid=short", &format!("sessionid={}", "x".repeat(8192))]
    {
        let headers = [("cookie", cookie), ("content-type", "application/json")];
        let reply = junk.request("POST", &site.url("/ops"), &headers, Some(b"[[\"get\",\"a\"]]"));
        assert_eq!(reply.status, 200, "{cookie:.40}");
    }
    assert_eq!(statements(&server.log()).len(), before, "an impossible key costs no query");
}
