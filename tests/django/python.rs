//! Values that only Python knows, in sessions that are pickled.

use serde_json::{Value, json};

use crate::pair::{Pair, Server, Visitor};

/// The kinds of `VALUES` in the language of the sites, and the JSON that we see, where there is one.
const KINDS: &[(&str, &str)] = &[
    ("datetime", r#""2024-02-29T12:30:59.123456+00:00""#),
    ("naive datetime", r#""2024-02-29T12:30:00""#),
    ("date", r#""2024-02-29""#),
    ("timedelta", NONE),
    ("Decimal", r#""10.50""#),
    ("tuple", r#"[1,["two",[],[3]]]"#),
    ("set", NONE),
    ("frozenset", NONE),
    ("bytes", NONE),
    ("bytearray", NONE),
    ("int keys", r#"{"1":"one","2":{"3":null}}"#),
    ("other keys", NONE),
    ("complex", NONE),
    ("UUID", r#""80000000-0000-0000-0000-000000000001""#),
    ("SafeString", r#""<b>safe</b>""#),
    ("class", NONE),
    ("object", NONE),
];

const NONE: &str = "";

/// The `repr` of each value in Django.
fn reprs(visitor: &mut Visitor, django: &dyn Server) -> Vec<Value> {
    let program: Vec<Value> = KINDS.iter().map(|(kind, _)| json!(["repr", kind])).collect();
    visitor.run(django, &program.into())
}

/// All of them in one session, which we write to in every way.
pub(crate) fn python_values(pair: &Pair) {
    let mut visitor = pair.visitor();
    let program: Vec<Value> = KINDS.iter().map(|(kind, _)| json!(["python", kind, kind])).collect();
    visitor.run(&pair.django, &program.into());
    visitor.run(&pair.django, &json!([["set", 7, "seven"], ["set", "last", 1]]));
    let before = reprs(&mut visitor, &pair.django);
    let mut keys: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
    keys.push("last");
    assert_eq!(visitor.run(&pair.ours, &json!([["keys"]])), [json!(keys)], "all that have a name");

    for program in [
        json!([["set", "new", "ü"]]),
        json!([["incr", "n"], ["set_expiry", 300]]),
        json!([["cycle_key"], ["del", "new"]]),
        json!([["set", "last", {"a": [1, 2.5, null]}], ["set_test_cookie"]]),
    ] {
        visitor.run(&pair.ours, &program);
        assert_eq!(reprs(&mut visitor, &pair.django), before, "after {program}");
        assert_eq!(visitor.run(&pair.django, &json!([["get", 7]])), [json!("seven")]);
        // Django pickles it anew.
        visitor.run(&pair.django, &json!([["incr", "m"]]));
    }
    assert_eq!(visitor.look(&pair.django, "last"), json!({"a": [1, 2.5, null]}));

    // Values with a JSON form are read. For any other, `get` returns an error.
    for (kind, json) in KINDS {
        let reply = visitor.ask(&pair.ours, &json!([["get", kind]]));
        if *json == NONE {
            assert_eq!(reply.status, 500, "{kind}: {}", reply.text());
        } else {
            let json: Value = serde_json::from_str(json).unwrap();
            assert_eq!((reply.status, &reply.json()["results"][0]), (200, &json), "{kind}");
        }
    }
    assert_eq!(reprs(&mut visitor, &pair.django), before, "after reading");
}

/// One of them overwritten, another one removed; the others stay.
pub(crate) fn python_values_replaced(pair: &Pair) {
    for (kind, _) in KINDS {
        let mut visitor = pair.visitor();
        visitor
            .run(&pair.django, &json!([["python", "a", kind], ["python", "b", kind], ["python", "c", kind]]));
        let before = visitor.run(&pair.django, &json!([["repr", "a"]]));
        visitor.run(&pair.ours, &json!([["set", "b", [1]], ["del", "c"]]));
        let after = visitor.run(&pair.django, &json!([["repr", "a"], ["get", "b"], ["has", "c"]]));
        assert_eq!(after, [before[0].clone(), json!([1]), json!(false)], "{kind}");
        visitor.run(&pair.ours, &json!([["del", "a"]]));
        assert_eq!(visitor.run(&pair.django, &json!([["items"]])), [json!([["b", [1]]])], "{kind}");
    }
}

/// An object in two places becomes two equal objects once our side has written it. A self-referencing object
/// is unreadable to us and is left alone.
pub(crate) fn python_references(pair: &Pair) {
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["python", "shared", "shared"]]));
    assert_eq!(visitor.look(&pair.ours, "shared"), json!([[1], [1]]));
    visitor.run(&pair.ours, &json!([["set", "new", 1]]));
    let after = visitor.run(&pair.django, &json!([["repr", "shared"], ["get", "new"]]));
    assert_eq!(after, [json!("[[1], [1]]"), json!(1)]);

    visitor.run(&pair.django, &json!([["python", "recursive", "recursive"]]));
    let (key, row) = (visitor.the_key(), pair.db.row(&visitor.the_key()));
    let mut tab = visitor.clone();
    let _alone = pair.alone_with_logs();
    tab.run(&pair.ours, &json!([["set", "new", 2]]));
    assert_ne!(tab.the_key(), key, "a session beside it");
    assert_eq!(pair.db.row(&key), row);
    let found = visitor.run(&pair.django, &json!([["repr", "recursive"], ["get", "new"]]));
    assert_eq!(found, [json!("[1, [...]]"), json!(1)]);
}
