//! Our session object does the same as Django's, method by method and in pairs.
//!
//! 2,120 programs recorded by tests/django/record_object.py: results, flags after each operation, items and
//! rows. They run here outside of any request, on SQLite.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use actix_django_session::{Error, Session, SessionKey, SessionSettings};
use serde_json::{Value, json};

use crate::support::{
    names::{Names, replace_dates},
    site,
    table::{Row, Table, sign},
};

#[test]
fn the_session_object_does_what_djangos_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/object.json");
    let recording: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let secret = recording["settings"]["SECRET_KEY"].as_str().unwrap();
    let cases = recording["cases"].as_array().unwrap();
    assert!(cases.len() > 2000, "the recording is short");

    let mut table = Table::sqlite();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(table.opener(secret)());
    let store = store.with_settings(&SessionSettings::default().exact_expiry(true)).unwrap(); // as Django's
    let (mut as_django, mut differences) = (0, Vec::new());
    let mut deviations: BTreeMap<&str, usize> = BTreeMap::new();
    for case in cases {
        let state = &recording["states"][case["state"].as_str().unwrap()];
        let now = SystemTime::now();
        table.reset(&seed(state, secret, now));
        let key = state["key"].as_str().map(|key| SessionKey::parse(key).unwrap());
        let mut names = Names::new(state["key"].as_str());
        let seeded = table.rows().iter().map(|row| names.row(row, secret, now)).collect();
        let ops = replace_dates(&case["ops"], now);

        let ours = runtime.block_on(async {
            let session = match &key {
                Some(key) => Session::open(&store, key).await.unwrap(),
                None => None,
            };
            // Of an unknown key there is no session, and an application makes a new one.
            let session = session.unwrap_or_else(|| Session::new(&store));
            let (mut results, mut flags) = (Vec::new(), Vec::new());
            for op in ops.as_array().unwrap() {
                let (name, args) = op.as_array().unwrap().split_first().unwrap();
                let result = match (name.as_str().unwrap(), &key) {
                    ("delete_row", Some(key)) => {
                        store.delete(key).await.unwrap();
                        Value::Null
                    }
                    ("delete_row", None) => Value::Null,
                    (name, _) => site::run(&session, name, args).await.unwrap_or_else(|error| raised(&error)),
                };
                results.push(names.result(result, now));
                let now_flags = site::run(&session, "flags", &[]).await.unwrap();
                flags.push(names.result(now_flags, now));
            }
            let items = site::run(&session, "items", &[]).await.unwrap();
            let items: Value =
                items.as_array().unwrap().iter().map(|item| names.result(item.clone(), now)).collect();
            json!({"results": results, "flags": flags, "items": items})
        });
        let rows: Vec<Value> = table.rows().iter().map(|row| names.row(row, secret, now)).collect();
        let mut ours = ours;
        ours["rows"] = rows.into();
        let django = recording_of(cases, &case["state"], &case["ops"]).unwrap();
        if ours == django {
            as_django += 1;
            continue;
        }
        let (names, expected) = on_purpose(cases, &case["state"], &case["ops"], &seeded);
        if ours == expected {
            names.iter().for_each(|name| *deviations.entry(name).or_default() += 1);
        } else {
            differences.push(format!(
                "{} {}\n  Django: {django}\n  wanted: {expected}\n  ours:   {ours}",
                case["state"], case["ops"]
            ));
        }
    }
    println!("{} programs, {as_django} as Django, {deviations:#?}", cases.len());
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

fn seed(state: &Value, secret: &str, now: SystemTime) -> Vec<Row> {
    let Some(expires_in) = state["row"]["expires_in"].as_u64() else { return Vec::new() };
    vec![Row {
        key: state["key"].as_str().unwrap().to_owned(),
        text: sign(&state["row"]["data"].to_string(), secret),
        expires: now + Duration::from_secs(expires_in),
    }]
}

/// The error as the recording names Django's.
fn raised(error: &actix_web::Error) -> Value {
    match error.as_error::<Error>() {
        Some(ours) if ours.is_interrupted() => json!({"raised": "UpdateError"}),
        Some(ours) => panic!("{ours:?}"),
        None => json!({"raised": error.to_string()}),
    }
}

/// Django's recorded results of a program.
fn recording_of(cases: &[Value], state: &Value, ops: &Value) -> Option<Value> {
    let case = cases.iter().find(|case| case["state"] == *state && case["ops"] == *ops)?;
    let part = |name: &str| case[name].clone();
    Some(json!({
        "results": part("results"), "flags": part("flags"), "items": part("items"), "rows": part("rows"),
    }))
}

/// Our results where we deviate from Django on purpose, with the names of the deviations that led to them.
/// `seeded` are the rows from before.
fn on_purpose(cases: &[Value], state: &Value, ops: &Value, seeded: &Value) -> (Vec<&'static str>, Value) {
    let mut names = Vec::new();
    let mut state = state.clone();
    if state == "unknown" {
        names.push("opening a session is the load");
        state = "no_key".into();
    }
    let mut expected = recording_of(cases, &state, ops).unwrap();
    let program: Vec<&str> = ops.as_array().unwrap().iter().map(|op| op[0].as_str().unwrap()).collect();
    match *program.as_slice() {
        ["flush", "save"] => {
            names.push("saving an ended session does not begin a new one with nothing in it");
            expected["rows"] = json!([]);
            let last = expected["flags"].as_array_mut().unwrap().last_mut().unwrap();
            last["key"] = Value::Null;
            last["empty"] = true.into();
        }
        _ if program.contains(&"flush")
            || program.contains(&"cycle_key") && program.last() != Some(&"save") =>
        {
            names.push("cycle_key and flush are carried out by the save");
            expected["rows"] = match program.first() {
                Some(&"save") => recording_of(cases, &state, &json!([["save"]])).unwrap()["rows"].clone(),
                _ => seeded.clone(),
            };
        }
        _ => {}
    }
    (names, expected)
}
