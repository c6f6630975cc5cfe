//! Random texts, the right ones and the wrong ones: what Django reads we read, and the other way round.

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::{
    SECRET, codec,
    support::{at_length, django::Django, table::sign},
};

/// JSON as it may stand in a text, and what is nearly that.
fn payload() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        4 => prop::sample::select(vec![
            "null", "true", "false", "NaN", "-Infinity", "Infinity", "-0", "0", "1.5e-7", "1E400", "1e5",
            "\"\"", "[]", "{}",
        ]).prop_map(str::to_owned),
        1 => prop::sample::select(vec![
            "nul", "nan", "+1", "01", "1.", ".5", "-", "1e", "1e+", "'a'", "\"", "\"\\x\"", "\"\\u12\"",
            "\"\t\"", "\u{a0}1",
            "[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{a:1}", "{1:1}", "{\"a\":1,}", "[1 2]", "// c\n1",
            "\u{feff}1", "",
        ]).prop_map(str::to_owned),
        2 => "-?[1-9][0-9]{0,30}",
        2 => "-?[0-9]\\.[0-9]{1,17}(e[+-]?[1-9][0-9]?)?",
        3 => "\"[ -!#-\\[\\]-~\u{e9}\u{ff}]{0,12}\"",
        1 => "\"(\\\\[\"\\\\/bfnrt]|\\\\u00[0-9a-f]{2}|\\\\ud83d\\\\ude00|\\\\ud83d){0,5}\"",
    ];
    let blank = || prop::sample::select(vec!["", "", "", " ", "\n\t", "\r"]);
    let value = leaf.prop_recursive(3, 16, 4, move |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), blank())
                .prop_map(|(items, blank)| format!("[{}]", items.join(&format!("{blank},{blank}")))),
            (prop::collection::vec(("[a-z]{0,3}", inner), 0..4), blank())
                .prop_map(|(members, blank)| object(&members, blank)),
        ]
    });
    (prop::collection::vec(("[a-z]{0,3}", value), 0..5), blank(), 0..20).prop_map(
        |(members, blank, shape)| {
            let text = object(&members, blank);
            match shape {
                0 => text[..text.len() - 1].to_owned(),
                1 => format!("{text}{text}"),
                2 => format!("{text} x"),
                3 => format!("[{text}]"),
                4 => format!(" {text}\n"),
                _ => text,
            }
        },
    )
}

fn object(members: &[(String, String)], blank: &str) -> String {
    let member = |(key, value): &(String, String)| format!("\"{key}\"{blank}:{blank}{value}");
    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
}

/// Any text that a signature was put on, by somebody who knows the secret.
#[test]
#[ignore = "needs Django: run tests/run"]
fn what_django_reads_we_read() {
    let count = if at_length() { 100_000 } else { 3_000 };
    let mut runner = TestRunner::new(Config::default());
    let payloads: Vec<String> =
        (0..count).map(|_| payload().new_tree(&mut runner).unwrap().current()).collect();
    // Bytes that are no ASCII are latin-1 to both.
    let texts: Vec<String> = payloads.iter().map(|payload| sign(payload, SECRET)).collect();
    let requests: Vec<Value> =
        texts.iter().map(|text| json!({"secret": SECRET, "fallbacks": [], "encoded": text})).collect();
    let mut versions = 0;
    for django in Django::versions() {
        let (mut read, mut refused) = (0, 0);
        for ((payload, text), theirs) in payloads.iter().zip(&texts).zip(django.decode_to_text(&requests)) {
            let ours = codec().decode(text);
            // A session is a dictionary: what is JSON but no object makes Django fail later on.
            let theirs = theirs.filter(|json| json.starts_with('{'));
            match (&theirs, &ours) {
                (Some(theirs), Ok(ours)) => {
                    read += 1;
                    let (ours, theirs) = (
                        serde_json::from_str::<Value>(&ours.to_json()),
                        serde_json::from_str::<Value>(theirs),
                    );
                    // Not where it holds NaN and the like, or half of a pair, which serde_json does not read.
                    if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
                        assert!(same(&ours, &theirs), "{}: {payload}: {ours}, not {theirs}", django.name);
                    }
                }
                (None, Err(_)) => refused += 1,
                _ => panic!("Django {}: {payload:?}: {theirs:?}, ours {ours:?}", django.name),
            }
        }
        println!("Django {}: {read} texts read by both, {refused} by none", django.name);
        assert!(read > count / 5 && refused > count / 20, "{read} read, {refused} refused");
        versions += 1;
    }
    assert!(versions > 0);
}

/// Numbers may be written in more than one way.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}
