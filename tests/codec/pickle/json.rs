//! JSON as a pickle.

use actix_django_session::codec::SessionData;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ask, dumps, hex, is_error, loads};
use crate::support::django::Django;

/// Python reads each JSON vector of the codec and our pickle of it as the same value.
#[test]
#[ignore = "needs Django: run tests/run"]
fn json_and_pickle_mean_the_same_to_python() {
    let file: Value = serde_json::from_str(include_str!("../../vectors/codec-5.2.19.json")).unwrap();
    let texts = file["vectors"].as_array().unwrap().iter().filter_map(|v| v["json"].as_str());
    // Python itself reads no deeper JSON, and here no pickle is written of any.
    let texts = texts.filter(|text| text.starts_with('{') && !text.contains(&"[{\"n\":".repeat(400)));
    let odd = [
        r#"{"a":1,"b":2,"a":3}"#,
        r#"{"a": {"x":1,"y":2,"x":[ ] } ,"b":[ 1 ,2.5e3, -0, -0.0,1E400,-1E+5 ] }"#,
        r#"{"\ud83d\ude00\ud83d":"\ude00\ud83d","\/\b\f\n\r\t\"\\":"\uD83D\uDE00é😀","n":[NaN,Infinity,-Infinity]}"#,
        r#"{"ints":[0,255,256,65535,65536,2147483647,2147483648,-1,-2147483648,-2147483649,9223372036854775808]}"#,
        r#"{"empty":[{},[],"",[[]],[{}],{"":{}}],"":null}"#,
    ];
    let texts: Vec<&str> = texts.chain(odd).collect();
    assert!(texts.len() > 50);
    for django in Django::codec_versions() {
        let requests = texts.iter().flat_map(|text| {
            let pickle = dumps(&SessionData::from_json(*text).unwrap());
            [json!({"json": text}), json!({"pickle": hex(&pickle)})]
        });
        for (text, answers) in texts.iter().zip(ask(&django, &requests.collect::<Vec<_>>()).chunks(2)) {
            assert_eq!(answers[0], answers[1], "{text:.200}");
            assert!(!is_error(&answers[0]), "{text:.200}: {}", answers[0]);
        }
    }
}

/// Values as Python's compact JSON.
fn json_value() -> impl Strategy<Value = String> {
    let text = any::<String>().prop_map(|text| {
        let mut data = SessionData::default();
        data.set_json("k", serde_json::to_string(&text).unwrap()).unwrap();
        let escaped =
            |c: char| c.encode_utf16(&mut [0; 2]).iter().map(|u| format!("\\u{u:04x}")).collect::<String>();
        let json = data.get_json("k").unwrap();
        json.chars().map(|c| if c > '~' { escaped(c) } else { c.to_string() }).collect()
    });
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        "-?[1-9][0-9]{15,60}",
        (any::<i32>(), 1..1000_i32).prop_map(|(a, b)| format!("{:?}", f64::from(a) / f64::from(b))),
        text,
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::btree_map("[a-z]{0,3}", inner, 0..6).prop_map(|map| {
                let pairs: Vec<String> =
                    map.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", pairs.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn json_comes_back_byte_for_byte(
        values in prop::collection::btree_map("[a-z]{1,3}", json_value(), 0..8)
    ) {
        let mut data = SessionData::default();
        for (key, value) in &values {
            data.set_json(key, value.as_str()).unwrap();
        }
        prop_assert_eq!(loads(&dumps(&data)).unwrap().to_json(), data.to_json());
    }
}
