//! The values in sessions.

use serde_json::{Value, json, value::RawValue};

use crate::pair::{Pair, Server, Visitor};

pub(crate) fn values_of_django(pair: &Pair) {
    // Text for Python's JSON reader: Rust's own would refuse some of it, and round the rest.
    let values = [
        ("nested", r#"{"b":[1,[2,{"a":null}],{}],"a":{"":[true,false]}}"#),
        ("big", "123456789012345678901234567890123456789012345678901234567890"),
        ("negative", "-98765432109876543210"),
        ("five", "5"),
        ("five.0", "5.0"),
        ("tenth", "0.1"),
        ("tiny", "5e-324"),
        ("huge", "1.7976931348623157e+308"),
        ("minus zero", "-0.0"),
        ("nan", "NaN"),
        ("infinities", "[Infinity,-Infinity]"),
        ("lone", r#""\ud800 and \udfff""#),
        ("pair", r#""\ud83d\ude00""#),
        ("escapes", r#""\u0000\"\\/\b\f\n\r\t\u007f\u2028""#),
        (r"\u00fcn\u00ef", r#""\u00e4\u6f22""#),
        (r"lone \ud800 key", "1"),
        ("", r#""the empty key""#),
        ("zz", "1"),
        ("aa", "2"),
        ("null", "null"),
    ];
    let object: Vec<String> = values.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    let object = format!("{{{}}}", object.join(","));
    let mut visitor = pair.visitor();
    let reply = visitor.ask_raw(&pair.django, &format!(r#"[["update", {object}]]"#));
    assert_eq!(reply.status, 200, "{}", reply.text());
    let data = |visitor: &Visitor| pair.data(&visitor.the_key()).to_json();
    assert_eq!(data(&visitor), object, "Django's own text");
    let items = visitor.ask_raw(&pair.django, r#"[["items"]]"#).text();

    // Byte for byte, through each kind of change.
    visitor.run(&pair.ours, &json!([["set", "new", 1]]));
    let without_end = object.strip_suffix('}').unwrap();
    assert_eq!(data(&visitor), format!("{without_end},\"new\":1}}"));
    visitor.run(&pair.ours, &json!([["incr", "new"], ["set", "other", "ü"]]));
    assert_eq!(data(&visitor), format!("{without_end},\"new\":2,\"other\":\"\\u00fc\"}}"));
    visitor.run(&pair.ours, &json!([["del", "new"], ["pop", "other"]]));
    assert_eq!(data(&visitor), object);
    visitor.run(&pair.ours, &json!([["cycle_key"]]));
    assert_eq!(data(&visitor), object);
    assert_eq!(visitor.ask_raw(&pair.django, r#"[["items"]]"#).text(), items, "what Django reads");

    // One value of them changed, in its place.
    visitor.run(&pair.ours, &json!([["set", "aa", 3]]));
    assert_eq!(data(&visitor), object.replace("\"aa\":2", "\"aa\":3"));

    // Values that fit Rust types.
    let five = visitor.run(&pair.ours, &json!([["get", "five"], ["get", "five.0"], ["get", "pair"]]));
    assert_eq!(five, [json!(5), json!(5.0), json!("😀")]);
    assert!(five[0].is_u64() && five[1].is_f64());
    assert_eq!(visitor.look(&pair.ours, "ünï"), "ä漢");
}

/// Name, value in our JSON, and in Python's.
const TEXTS: [(&str, &str, &str); 4] = [
    ("big", "123456789012345678901234567890123456789012345678901234567890", ""),
    ("lone", r#""\ud800 and \udfff""#, ""),
    ("unicode ü 漢 😀", r#""ü 漢 😀""#, r#""\u00fc \u6f22 \ud83d\ude00""#),
    ("nested", r#"{"z":[1,2.0,{"a":[]}],"a":null}"#, r#"{"z": [1, 2.0, {"a": []}], "a": null}"#),
];

pub(crate) fn values_of_ours(pair: &Pair) {
    let mut visitor = pair.visitor();
    visitor.run(&pair.django, &json!([["set", "first", 1]]));
    pair.in_a_request(&mut visitor, |session| {
        for (name, text, _) in TEXTS {
            session.insert(name, &RawValue::from_string(text.to_owned()).unwrap()).unwrap();
        }
        session.insert("five", &5).unwrap();
        session.insert("five.0", &5.0).unwrap();
        session.insert("u64", &u64::MAX).unwrap();
        session.insert("i128", &i128::MIN).unwrap();
        session.insert("tenth", &0.1).unwrap();
        session.insert("tiny", &5e-324).unwrap();
        session.insert("1e16", &1e16).unwrap();
        session.insert("1e-7", &1e-7).unwrap();
        session.insert("max", &f64::MAX).unwrap();
        session.insert("nan", &f64::NAN).unwrap();
        session.insert("zz", &1).unwrap();
        session.insert("aa", "\0\"\\/\u{8}\u{c}\n\r\t\u{7f}\u{2028}").unwrap();
    });
    let mut expected: Vec<(&str, String)> = vec![("first", "1".into())];
    expected.extend(
        TEXTS.map(|(name, ours, python)| (name, if python.is_empty() { ours } else { python }.into())),
    );
    let numbers = [
        ("five", "5"),
        ("five.0", "5.0"),
        ("u64", "18446744073709551615"),
        ("i128", "-170141183460469231731687303715884105728"),
        ("tenth", "0.1"),
        ("tiny", "5e-324"),
        ("1e16", "1e+16"),
        ("1e-7", "1e-07"),
        ("max", "1.7976931348623157e+308"),
        ("nan", "null"),
        ("zz", "1"),
        ("aa", r#""\u0000\"\\/\b\f\n\r\t\u007f\u2028""#),
    ];
    expected.extend(numbers.map(|(name, text)| (name, text.to_owned())));
    let read = |visitor: &mut Visitor, server: &dyn Server| {
        let program: Vec<Value> = expected.iter().map(|(name, _)| json!(["get", name])).collect();
        visitor.ask(server, &program.into()).text()
    };
    let values: Vec<&str> = expected.iter().map(|(_, text)| text.as_str()).collect();
    let answer = format!("{{\"results\": [{}]}}", values.join(", "));
    assert_eq!(read(&mut visitor, &pair.django), answer);
    let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    assert_eq!(visitor.run(&pair.django, &json!([["keys"]])), [json!(names)], "the order of keys");

    // Django writes everything anew when it changes one key. The values are the same.
    visitor.run(&pair.django, &json!([["set", "more", true]]));
    assert_eq!(read(&mut visitor, &pair.django), answer);
    let data = pair.data(&visitor.the_key());
    for (name, text) in &expected {
        let compact =
            if *name == "nested" { text.replace(", ", ",").replace(": ", ":") } else { text.clone() };
        assert_eq!(data.get_json(name), Some(compact.as_str()), "{name}");
    }
    pair.in_a_request(&mut visitor, |session| {
        assert_eq!(session.get::<i128>("i128").unwrap(), Some(i128::MIN));
        assert_eq!(session.get::<u64>("u64").unwrap(), Some(u64::MAX));
        assert_eq!(session.get::<f64>("tiny").unwrap(), Some(5e-324));
        assert_eq!(session.get::<f64>("max").unwrap(), Some(f64::MAX));
        assert_eq!(session.get::<f64>("1e16").unwrap(), Some(1e16));
        assert_eq!(session.get::<String>("unicode ü 漢 😀").unwrap().as_deref(), Some("ü 漢 😀"));
        assert_eq!(session.get::<Box<RawValue>>("lone").unwrap().unwrap().get(), r#""\ud800 and \udfff""#);
    });
}
