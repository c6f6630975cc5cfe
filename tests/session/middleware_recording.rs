//! Our middleware does the same as Django's SessionMiddleware in 9,204 recorded requests per Django version.
//!
//! The recording is made by tests/django/record_middleware.py. Where we leave Django on purpose, the
//! deviation is listed here by name and reason, with what we do instead.

use std::{collections::BTreeMap, fs, path::Path, time::SystemTime};

use actix_django_session::SessionSettings;
use serde_json::{Value, json};

use crate::support::{
    http::Client,
    names::{Names, replace_dates, shift},
    site::Site,
    table::{Row, Table, sign},
};

#[test]
fn sqlite_does_what_django_does() {
    replay("6.1", Table::sqlite, Carrier::Cookie);
}

/// The decision table holds for a key in a header too: each cookie of the recording becomes a token.
#[test]
fn a_token_is_answered_where_django_answers_a_cookie() {
    replay("6.1", Table::sqlite, Carrier::Token);
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn postgres_does_what_django_4_2_does() {
    replay("4.2", Table::postgres, Carrier::Cookie);
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn postgres_does_what_django_5_2_does() {
    replay("5.2", Table::postgres, Carrier::Cookie);
}

#[test]
#[ignore = "needs PostgreSQL: run tests/run"]
fn postgres_does_what_django_6_1_does() {
    replay("6.1", Table::postgres, Carrier::Cookie);
}

/// Cookie or header.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Carrier {
    Cookie,
    Token,
}

const TOKEN_HEADER: &str = "x-session-token";

impl Carrier {
    /// Whether a case is one of this form. A header cannot hold NUL, there is but one, and an empty one is no
    /// key. Of the statuses two are enough.
    fn can_carry(self, cookie: &str, status: &str) -> bool {
        let is_cookies = ["nul", "among_junk", "duplicate", "empty"].contains(&cookie);
        self == Self::Cookie || (!is_cookies && ["200", "500"].contains(&status))
    }

    /// Turns a recorded outcome into this form. A token is sent only if it changes.
    fn expect(self, recorded: &Outcome) -> Outcome {
        let mut outcome = recorded.clone();
        if self == Self::Cookie {
            return outcome;
        }
        outcome.set_cookie = match outcome.set_cookie.as_str() {
            None => Value::Null,
            Some(line) if line.starts_with("sessionid=\"\"") => "".into(),
            Some(line) if line.starts_with("sessionid=<same>") => Value::Null,
            Some(line) => line["sessionid=".len()..].split(';').next().unwrap().into(),
        };
        if outcome.vary == "Cookie" {
            outcome.vary = TOKEN_HEADER.into();
        }
        outcome
    }
}

/// The outcome of a request, in the recording's terms.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    status: u64,
    results: Value,
    set_cookie: Value,
    vary: Value,
    rows: Vec<Value>,
}

fn replay(version: &str, table: fn() -> Table, carrier: Carrier) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/middleware-{version}.json"));
    let file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let recording = Recording::new(&file);
    assert!(recording.cases.len() > 9000, "the recording is short");
    let (mut count, mut as_django, mut differences) = (0, 0, Vec::new());
    let mut deviations: BTreeMap<&str, usize> = BTreeMap::new();
    let asked: BTreeMap<String, Value> =
        recording.cases.keys().map(|key| (key.3.clone(), serde_json::from_str(&key.3).unwrap())).collect();
    for every in [false, true] {
        let mut bench = Bench::new(&file, table(), every, carrier);
        for ((_, cookie, action, status), django) in recording.cases.iter().filter(|(key, _)| key.0 == every)
        {
            if !carrier.can_carry(cookie, status) {
                continue;
            }
            let case = Case { every, cookie, action, asked: &asked[status] };
            let ours = bench.request(&case);
            count += 1;
            let django = carrier.expect(django);
            if ours == django {
                as_django += 1;
                continue;
            }
            let (names, expected) = on_purpose(&recording, &case);
            let expected = carrier.expect(&expected);
            if ours == expected {
                names.iter().for_each(|name| *deviations.entry(name).or_default() += 1);
            } else {
                let title = case.title();
                differences.push(format!(
                    "{title} {names:?}\n  Django: {django:?}\n  wanted: {expected:?}\n  ours:   {ours:?}"
                ));
            }
        }
    }
    println!("Django {version}: {count} requests, {as_django} as Django, {deviations:#?}");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Our site, and the table behind it.
struct Bench<'a> {
    recording: &'a Value,
    table: Table,
    site: Site,
    secret: String,
    carrier: Carrier,
}

impl<'a> Bench<'a> {
    fn new(recording: &'a Value, table: Table, save_every_request: bool, carrier: Carrier) -> Self {
        let secret = recording["settings"]["SECRET_KEY"].as_str().unwrap().to_owned();
        // Django's dates are exact.
        let mut settings =
            SessionSettings::default().save_every_request(save_every_request).exact_expiry(true);
        if carrier == Carrier::Token {
            settings = settings.token_header(TOKEN_HEADER);
        }
        let site = Site::start_with(1, settings, table.opener(&secret));
        Self { recording, table, site, secret, carrier }
    }

    fn request(&mut self, case: &Case<'_>) -> Outcome {
        let cookie = &self.recording["cookies"][case.cookie];
        let now = SystemTime::now();
        let before = self.seed(cookie, now);
        self.table.reset(&before);

        let action = &self.recording["actions"][case.action];
        let mut program: Vec<Value> = action.as_array().unwrap().clone();
        program.push(if case.asked == "raise" { json!(["raise"]) } else { json!(["status", case.asked]) });
        let body = replace_dates(&Value::Array(program), now).to_string();
        let mut headers = vec![("content-type", "application/json")];
        match (self.carrier, cookie["header"].as_str()) {
            (Carrier::Cookie, None) => {}
            (Carrier::Cookie, Some(header)) => headers.push(("cookie", header)),
            (Carrier::Token, _) => headers.push((TOKEN_HEADER, cookie["key"].as_str().unwrap_or(""))),
        }
        let reply = Client::new().request("POST", &self.site.url("/ops"), &headers, Some(body.as_bytes()));

        let mut names = Names::new(cookie["key"].as_str());
        let from_view = reply.text().starts_with("{\"results\"");
        let results = if from_view { self.results(reply.json(), now, &mut names) } else { Value::Null };
        let set_cookie = match self.carrier {
            Carrier::Cookie => reply.set_cookie("sessionid").map(|line| names.cookie(line)),
            Carrier::Token => {
                assert!(reply.set_cookies().is_empty(), "{reply:?}");
                let depends = reply.header("vary").is_some();
                assert_eq!(reply.header("cache-control"), depends.then_some("no-store"), "{reply:?}");
                let token = reply.header(TOKEN_HEADER);
                token.map(|token| if token.is_empty() { String::new() } else { names.key(token) })
            }
        };
        let rows = self.table.rows().into_iter().map(|row| self.row(&row, &before, now, &mut names));
        let mut rows: Vec<Value> = rows.collect();
        rows.sort_by_key(|row| row["key"].to_string());
        Outcome {
            status: reply.status.into(),
            results,
            set_cookie: set_cookie.into(),
            vary: reply.header("vary").into(),
            rows,
        }
    }

    /// The row that the recording says was there.
    fn seed(&self, cookie: &Value, now: SystemTime) -> Vec<Row> {
        let row = &cookie["row"];
        let Some(expires_in) = row["expires_in"].as_f64() else { return Vec::new() };
        let secret = if row["readable"] == true { &self.secret } else { "another secret" };
        let payload = row["data"].to_string();
        vec![Row {
            key: cookie["key"].as_str().unwrap().to_owned(),
            text: sign(&payload, secret),
            expires: shift(now, expires_in),
        }]
    }

    /// The results of the view's program, without that of the operation added at its end.
    fn results(&self, reply: Value, now: SystemTime, names: &mut Names) -> Value {
        let mut results = reply["results"].as_array().unwrap().clone();
        results.pop();
        results.into_iter().map(|result| names.result(result, now)).collect()
    }

    fn row(&self, row: &Row, before: &[Row], now: SystemTime, names: &mut Names) -> Value {
        let mut shown = names.row(row, &self.secret, now);
        if shown["data"].is_null() {
            let unchanged = before.iter().any(|old| old.key == row.key && old.text == row.text);
            shown["data"] = if unchanged { "unreadable-unchanged" } else { "unreadable-changed" }.into();
        }
        shown
    }
}

/// The recording, to look up what Django does in other cases.
struct Recording<'a> {
    cases: BTreeMap<(bool, &'a str, &'a str, String), Outcome>,
    all: &'a Value,
}

impl<'a> Recording<'a> {
    fn new(all: &'a Value) -> Self {
        let mut cases = BTreeMap::new();
        for case in all["cases"].as_array().unwrap() {
            for status in case["statuses"].as_array().unwrap() {
                let (cookie, action) = (case["cookie"].as_str().unwrap(), case["action"].as_str().unwrap());
                let every = case["save_every_request"] == true;
                let outcome = Outcome {
                    status: status[1].as_u64().unwrap(),
                    results: case["results"].clone(),
                    set_cookie: case["set_cookie"].clone(),
                    vary: case["vary"].clone(),
                    rows: case["rows"].as_array().unwrap().clone(),
                };
                cases.insert((every, cookie, action, status[0].to_string()), outcome);
            }
        }
        Self { cases, all }
    }

    fn get(&self, case: &Case<'_>) -> Outcome {
        let key = (case.every, case.cookie, case.action, case.asked.to_string());
        self.cases.get(&key).unwrap_or_else(|| panic!("no such case: {}", case.title())).clone()
    }

    fn program(&self, action: &str) -> Vec<&'a str> {
        let ops = self.all["actions"][action].as_array().unwrap();
        ops.iter().map(|op| op[0].as_str().unwrap()).collect()
    }

    /// The rows that were there before the request.
    fn seed(&self, cookie: &str) -> Vec<Value> {
        let row = &self.all["cookies"][cookie]["row"];
        if row.is_null() {
            return Vec::new();
        }
        let readable = row["readable"] == true && row["data"].is_object();
        let data = if readable { row["data"].clone() } else { "unreadable-unchanged".into() };
        vec![json!({"key": "<same>", "data": data, "expires_in": row["expires_in"]})]
    }
}

/// One request of the recording.
#[derive(Clone, Debug)]
struct Case<'a> {
    every: bool,
    cookie: &'a str,
    action: &'a str,
    asked: &'a Value,
}

impl Case<'_> {
    fn title(&self) -> String {
        let every = if self.every { ", saved every request" } else { "" };
        format!("{} / {} / {}{every}", self.cookie, self.action, self.asked)
    }

    fn fails(&self) -> bool {
        self.asked.as_u64().is_none_or(|status| status >= 500)
    }
}

/// Our outcome where we deviate from Django on purpose, with the name of each deviation that led to it.
fn on_purpose(recording: &Recording<'_>, case: &Case<'_>) -> (Vec<&'static str>, Outcome) {
    let mut names = Vec::new();
    let mut case = case.clone();
    let program = recording.program(case.action);
    let has = |op: &str| program.contains(&op);
    let untouched = program.iter().all(|op| *op == "flags" || *op == "delete_row");

    if ["nul", "overlong"].contains(&case.cookie) {
        names.push("a key that cannot be is unknown, and costs no query");
        case.cookie = "unknown";
    }
    if ["bad_signature", "not_object"].contains(&case.cookie) {
        return unreadable(recording, &case, &program);
    }
    let loaded = format!("loaded_{}", case.action);
    let has_loaded_form = recording.all["actions"].get(&loaded).is_some();
    let mut outcome = if has_loaded_form {
        names.push("taking the session as an argument is the load");
        let mut outcome = recording.get(&Case { action: &loaded, ..case });
        if let Some(results) = outcome.results.as_array_mut() {
            let load = program.iter().position(|op| ["clear", "flush", "modified", "save"].contains(op));
            results.remove(load.unwrap());
            // The load is no access to the data, as Django's is by an access.
            if let (Some(ours), Some(plain)) = (results.last_mut(), recording.get(&case).results.as_array()) {
                ours["accessed"] = plain.last().unwrap()["accessed"].clone();
            }
        }
        outcome
    } else {
        recording.get(&case)
    };
    let no_row = recording.seed(case.cookie).iter().all(|row| row["expires_in"].as_i64() < Some(0));
    if case.every
        && untouched
        && no_row
        && !case.fails()
        && !["none", "empty", "short"].contains(&case.cookie)
    {
        names.push("a row is made only when there is something to keep");
        let read = recording.get(&Case { action: "read", ..case });
        outcome = Outcome { results: outcome.results, ..read };
    }
    let ends = outcome.set_cookie.as_str().is_some_and(|line| line.starts_with("sessionid=\"\""));
    if case.fails() && (has("cycle_key") || has("flush")) && !ends {
        names.push("a request that fails with 5xx has rotated nothing");
        outcome.rows = if has("delete_row") { Vec::new() } else { recording.seed(case.cookie) };
    }
    if names.first().is_some_and(|name| name.starts_with("a key that cannot")) {
        rename_key(&mut outcome.results, &"<same>".into(), Value::Null);
    }
    if outcome.vary.is_null() && outcome.set_cookie.is_string() {
        names.push("Vary also when only the cookie is set (CVE-2026-35192, which Django 4.2 never fixed)");
        outcome.vary = "Cookie".into();
    }
    let deletes = outcome.set_cookie.as_str().is_some_and(|line| line.starts_with("sessionid=\"\""));
    if case.cookie == "duplicate" && deletes && !has("flush") {
        names.push("of several cookies, none is deleted but by a logout");
        outcome.set_cookie = Value::Null;
    }
    let was_live = !no_row && has("delete_row");
    if was_live && has("cycle_key") && !case.fails() {
        names.push("a session that was ended elsewhere does not live on under a new key");
        outcome = recording.get(&Case { action: "interrupted", ..case });
    }
    if was_live && has("save") {
        names.push("saving a session that was ended elsewhere is a 400 in the view too");
        outcome = Outcome { status: 400, results: Value::Null, vary: Value::Null, ..outcome };
    }
    (names, outcome)
}

/// A row that cannot be read is somebody else's until proven otherwise.
fn unreadable(recording: &Recording<'_>, case: &Case<'_>, program: &[&str]) -> (Vec<&'static str>, Outcome) {
    let has = |op: &str| program.contains(&op);
    if program.first() == Some(&"delete_row") {
        return on_purpose(recording, &Case { cookie: "valid", ..case.clone() });
    }
    // A list in the row makes Django answer 500. To us it is as foreign as a wrong signature.
    let django = Case { cookie: "bad_signature", ..case.clone() };
    let mut outcome = recording.get(&django);
    let row = if has("delete_row") { Vec::new() } else { recording.seed(case.cookie) };
    if has("flush") {
        let ends = outcome.set_cookie.as_str().is_some_and(|line| line.starts_with("sessionid=\"\""));
        if case.fails() && !ends {
            outcome.rows = row;
        }
        return (vec!["a row that cannot be read ends only if it is flushed"], outcome);
    }
    let beside = recording.get(&Case { cookie: "none", ..django.clone() });
    let succeeded =
        recording.get(&Case { every: false, cookie: "none", asked: &json!(200), ..django.clone() });
    let flags = succeeded.results.as_array().and_then(|results| results.last());
    if flags.is_none_or(|flags| flags["modified"] == false) || (has("save") && !has("set")) {
        outcome = recording.get(&Case { every: false, ..django });
        outcome.rows = row;
        return (vec!["a row that cannot be read is left alone, and its cookie too"], outcome);
    }
    if outcome.results.is_null() {
        outcome.results = beside.results.clone(); // Django did not get so far
        rename_key(&mut outcome.results, &Value::Null, "<same>");
    } else if has("save") {
        rename_key(&mut outcome.results, &"<same>".into(), "<new>");
    }
    outcome = Outcome { results: outcome.results, ..beside };
    if case.fails() && !has("save") {
        outcome.rows.clear();
    }
    outcome.rows.extend(row);
    (vec!["a write beside a row that cannot be read starts a new session"], outcome)
}

fn rename_key(results: &mut Value, from: &Value, to: impl Into<Value> + Clone) {
    for flags in results.as_array_mut().into_iter().flatten() {
        if flags.is_object() && flags["key"] == *from {
            flags["key"] = to.clone().into();
        }
    }
}
