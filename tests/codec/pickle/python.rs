//! Pickles by Python are readable here, and pickles written here are readable by Python.

use actix_django_session::{
    SecretKey,
    codec::{Codec, PickleSerializer, SessionData},
};
use serde_json::{Value, json};

use super::{Vector, ask, dumps, hex, is_error, loads, vectors, views};
use crate::support::django::Django;

/// As JSON shows it. Keys with halves of characters have no name here.
fn shown(data: &SessionData) -> Vec<(String, String)> {
    data.items().into_iter().map(|(key, value)| (key, value.to_owned())).collect()
}

/// Where a pickle says how to get at a class in more than one step, we do not say which it is.
fn assert_shown(data: &SessionData, expected: &[(String, String)], what: &str) {
    let mut expected = in_rust(expected);
    let shown = shown(data);
    for ((_, ours), (_, theirs)) in shown.iter().zip(&mut expected) {
        if ours == "<object>" && theirs.starts_with('<') {
            theirs.clone_from(ours);
        }
    }
    assert_eq!(shown, expected, "{what}");
}

/// `expected` as `shown` has it: with keys that are no JSON by themselves left out.
fn in_rust(expected: &[(String, String)]) -> Vec<(String, String)> {
    let name = |key: &str| SessionData::from_json(format!("{{{key}:1}}")).unwrap().keys().remove(0);
    let named = |(key, _): &&(String, String)| key != r#""\ud83d\ude00""#;
    expected.iter().filter(named).map(|(key, value)| (name(key), value.clone())).collect()
}

#[test]
fn we_read_what_every_python_writes() {
    for Vector { what, pickle, views } in vectors() {
        let data = loads(&pickle).unwrap();
        assert_shown(&data, &views, &what);
        assert_shown(&loads(&dumps(&data)).unwrap(), &views, &format!("{what}, written by us"));
    }
}

/// Values that JSON can express are read and written as JSON.
#[test]
fn plain_sessions_become_plain_json() {
    let plain = vectors().into_iter().filter(|v| v.what.starts_with("\"login\""));
    for Vector { what, pickle, views } in plain {
        let pairs: Vec<String> = views.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        assert_eq!(loads(&pickle).unwrap().to_json(), format!("{{{}}}", pairs.join(",")), "{what}");
    }
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn every_python_reads_what_we_write_as_the_same_objects() {
    let vectors = vectors();
    for django in Django::codec_versions() {
        let mut requests = Vec::new();
        for Vector { pickle, .. } in &vectors {
            let mut data = loads(pickle).unwrap();
            let ours = dumps(&data);
            let twice = dumps(&loads(&ours).unwrap());
            let changed = data.keys().first().cloned().unwrap_or_default();
            data.set_json(&changed, "[1.5]").unwrap();
            data.set_json("new", "{\"a\":\"\\ud83d\\ude00\"}").unwrap();
            let without = json!([changed, "new"]);
            requests.push(json!({"pickle": hex(pickle)}));
            requests.push(json!({"pickle": hex(&ours)}));
            requests.push(json!({"pickle": hex(&twice)}));
            requests.push(json!({"pickle": hex(pickle), "without": without}));
            requests.push(json!({"pickle": hex(&dumps(&data)), "without": without}));
        }
        let answers = ask(&django, &requests);
        let mut compared = 0;
        for (v, answers) in vectors.iter().zip(answers.chunks(5)) {
            // A module that this Python does not have, such as pytz.
            if is_error(&answers[0]) {
                continue;
            }
            let what = format!("{} in Django {}", v.what, django.name);
            assert_eq!(answers[0], answers[1], "{what}");
            assert_eq!(answers[0], answers[2], "{what}, twice");
            assert_eq!(answers[3], answers[4], "{what}, changed");
            compared += 1;
        }
        assert!(compared > 200, "Django {}: {compared}", django.name);
        println!("Django {}: {compared} pickles", django.name);
    }
}

#[test]
#[ignore = "needs Django: run tests/run"]
fn sites_with_the_pickle_serializer_are_understood_and_understand() {
    const SECRET: &str = "a secret of the site";
    let mut versions = 0;
    for django in Django::codec_versions() {
        // Django 5 has no PickleSerializer any more. Before 3.1 it wrote another format, which we only read.
        let major: u32 = django.name.split('.').next().unwrap().parse().unwrap();
        if major >= 5 {
            continue;
        }
        let written = !["1.", "2.", "3.0"].iter().any(|old| django.name.starts_with(old));
        let codec =
            Codec::new(SecretKey::new(SECRET)).serializer(PickleSerializer::new()).read_legacy(!written);
        let sessions = ask(&django, &[json!({"sessions": SECRET})]).remove(0);
        let sessions: Value = serde_json::from_str(&sessions).unwrap();
        let sessions = sessions.as_object().unwrap();
        assert!(sessions.len() > 30);
        let mut requests = Vec::new();
        for (name, session) in sessions {
            let encoded = session["encoded"].as_str().unwrap();
            let mut data =
                codec.decode(encoded).unwrap_or_else(|error| panic!("{}: {name}: {error}", django.name));
            assert_shown(&data, &views(&session["views"]), &format!("{}: {name}", django.name));
            data.set_json("new", "1").unwrap();
            requests.push(json!({"encoded": encoded, "secret": SECRET, "without": ["new"]}));
            let encoded = String::from_utf8(codec.encode(&data).unwrap()).unwrap();
            requests.push(json!({"encoded": encoded, "secret": SECRET, "without": ["new"]}));
        }
        if written {
            for (name, answers) in sessions.keys().zip(ask(&django, &requests).chunks(2)) {
                assert_eq!(answers[0], answers[1], "{}: {name}", django.name);
                assert!(!is_error(&answers[0]), "{}: {name}", django.name);
            }
        }
        versions += 1;
    }
    assert!(versions > 0);
}
