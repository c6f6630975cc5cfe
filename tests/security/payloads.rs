//! Texts with the right signature that hold what no session is.

use std::{io::Write as _, sync::mpsc, thread};

use actix_django_session::codec::{Codec, SessionData};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use flate2::{Compression, write::ZlibEncoder};
use proptest::prelude::*;
use serde_json::Value;

use crate::{
    SECRET, codec,
    support::{
        at_length,
        proc::{PATIENCE, status_of},
        table::{sign, sign_body},
    },
};

/// The most memory that this process has ever had, in MiB.
fn peak() -> u64 {
    status_of(std::process::id(), "VmHWM:") / 1024
}

/// Ends with a failure, not with a wait, if it takes time that grows faster than the text.
fn in_time<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, told) = mpsc::channel();
    // A small stack: nothing here may need one that grows with the text.
    thread::Builder::new().stack_size(256 * 1024).spawn(move || tell.send(work())).unwrap();
    told.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{what}: {error}"))
}

fn zlib(chunks: impl IntoIterator<Item = Vec<u8>>) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    for chunk in chunks {
        encoder.write_all(&chunk).unwrap();
    }
    sign_body(&format!(".{}", URL_SAFE_NO_PAD.encode(encoder.finish().unwrap())), SECRET)
}

#[test]
fn a_zip_bomb_takes_no_more_than_the_limit() {
    // Two GiB in two MiB.
    let bomb = zlib((0..2048).map(|_| vec![b' '; 1 << 20]));
    assert!(bomb.len() < 4 << 20);
    let before = peak();
    let error = codec().decode(&bomb).unwrap_err();
    assert!(error.is_too_large(), "{error}");
    let small = codec().max_session_bytes(1 << 20);
    assert!(small.decode(&bomb).unwrap_err().is_too_large());
    assert!(peak() < before + 100, "{before} MiB, then {} MiB", peak());
    // One inside another is data, not a session.
    let inner = encoded(r#"{"a":1}"#);
    assert!(codec().decode(sign(&inner, SECRET)).is_err());
}

#[test]
fn depth_costs_no_stack() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{{\"deep\":{}1{}}}", open.repeat(1_000_000), close.repeat(1_000_000));
        let text = sign(&deep, SECRET);
        in_time("depth", move || {
            let mut data = codec().decode(&text).unwrap();
            assert_eq!(data.get_json("deep").map(str::len), Some(deep.len() - "{\"deep\":}".len()));
            assert!(serde_json::from_str::<Value>(data.get_json("deep").unwrap()).is_err());
            // It goes back as it came.
            data.set_json("b", "1").unwrap();
            let again = codec().decode(codec().encode(&data).unwrap()).unwrap();
            assert_eq!(again.get_json("deep"), data.get_json("deep"));
        });
    }
    let unclosed = sign(&format!("{{\"a\":{}", "[".repeat(4_000_000)), SECRET);
    in_time("unclosed", move || assert!(codec().decode(&unclosed).unwrap_err().is_unreadable()));
}

#[test]
fn no_text_takes_more_time_than_its_length() {
    let size = if at_length() { 8 << 20 } else { 1 << 20 };
    let member = |n: usize| format!("\"{n}\":1,");
    let texts = [
        ("backslashes", format!("{{\"a\":\"{}\"}}", "\\\\".repeat(size / 2))),
        ("escapes", format!("{{\"{}\":1}}", "\\u00e9".repeat(size / 6))),
        ("halves of pairs", format!("{{\"{}\":1}}", "\\ud83d".repeat(size / 6))),
        ("digits", format!("{{\"a\":{}}}", "9".repeat(size))),
        ("an exponent", format!("{{\"a\":1e{}}}", "9".repeat(size))),
        ("blanks", format!("{{\"a\":{}1}}", " ".repeat(size))),
        ("members", format!("{{{}\"z\":1}}", (0..size / 10).map(member).collect::<String>())),
        ("one member again and again", format!("{{{}\"a\":1}}", "\"a\":1,".repeat(size / 6))),
        ("empty lists", format!("{{\"a\":[{}[]]}}", "[],".repeat(size / 3))),
        ("an expiry", format!("{{\"_session_expiry\":\"{}\"}}", "2024-".repeat(size / 5))),
        ("an expiry in digits", format!("{{\"_session_expiry\":{}}}", "1".repeat(size))),
        (
            "an expiry in seconds",
            format!("{{\"_session_expiry\":\"2024-01-01T00:00:00.{}\"}}", "1".repeat(size)),
        ),
        ("latin-1", format!("{{\"a\":\"{}\"}}", "\u{e9}".repeat(size / 4))),
    ];
    for (what, json) in texts {
        let text = sign(&json, SECRET);
        in_time(what, move || {
            let data = codec().decode(&text).unwrap_or_else(|error| panic!("{what}: {error}"));
            let session = actix_django_session::Session::detached();
            for (key, value) in data.items().iter().take(10) {
                if let Ok(value) = serde_json::from_str::<Value>(value) {
                    session.insert(key, &value).unwrap();
                }
            }
            let _ = (session.get_expiry_age(), session.get_expiry_date(), data.get_json("z"));
            let again = codec().decode(codec().encode(&data).unwrap()).unwrap();
            assert_eq!(again.to_json(), data.to_json(), "{what}");
        });
    }
    for (what, text) in [
        ("colons", ":".repeat(size)),
        ("dots", ".".repeat(size)),
        ("base64 with anything in between", sign_body(&"Y*".repeat(size / 2), SECRET)),
        ("padding", sign_body(&"=".repeat(size), SECRET)),
        ("a stamp", format!("e30:{}:{}", "z".repeat(size), "A".repeat(43))),
        ("a signature", format!("e30:1r31eq:{}", "A".repeat(size))),
    ] {
        in_time(what, move || {
            assert!(codec().decode(&text).is_err(), "{what}");
            assert!(codec().read_legacy(true).decode(&text).is_err(), "{what}");
        });
    }
}

/// As [`in_time`], for what is within the limit by a hair and what is over it by one.
#[test]
fn the_limit_is_exact() {
    let codec = codec().max_session_bytes(1000);
    let json = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 8));
    for length in [999, 1000] {
        assert!(codec.decode(sign(&json(length), SECRET)).is_ok());
        assert!(codec.decode(zlib([json(length).into_bytes()])).is_ok());
        codec.encode(&SessionData::from_json(json(length)).unwrap()).unwrap();
    }
    assert!(codec.decode(sign(&json(1001), SECRET)).unwrap_err().is_too_large());
    assert!(codec.decode(zlib([json(1001).into_bytes()])).unwrap_err().is_too_large());
    assert!(codec.encode(&SessionData::from_json(json(1001)).unwrap()).unwrap_err().is_too_large());
}

fn signed_text() -> impl Strategy<Value = String> {
    prop::collection::vec(("[a-z]{1,9}", 0u32..1000), 0..60).prop_map(|members| {
        let members: Vec<String> =
            members.iter().enumerate().map(|(n, (key, value))| format!("\"{key}{n}\":{value}")).collect();
        encoded(&format!("{{{}}}", members.join(",")))
    })
}

/// Signed text as we write it.
fn encoded(json: &str) -> String {
    String::from_utf8(codec().encode(&SessionData::from_json(json).unwrap()).unwrap()).unwrap()
}

fn forged(codec: &Codec, text: &str) -> bool {
    codec.decode(text).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any other text than the one that was signed is refused, whatever it differs in.
    #[test]
    fn no_change_to_a_signed_text_is_let_through(
        text in signed_text(), place in any::<prop::sample::Index>(), with in any::<char>(), what in 0..4,
    ) {
        let mut chars: Vec<char> = text.chars().collect();
        let place = place.index(chars.len());
        match what {
            0 => chars[place] = with,
            1 => chars.insert(place, with),
            2 => drop(chars.remove(place)),
            _ => chars.truncate(place),
        }
        let changed: String = chars.into_iter().collect();
        for codec in [codec(), codec().read_legacy(true)] {
            prop_assert!(forged(&codec, &text));
            prop_assert!(changed == text || !forged(&codec, &changed), "{} for {}", changed, text);
        }
    }

    #[test]
    fn every_single_other_letter_is_refused(text in signed_text()) {
        let last = text.len() - 1;
        for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=".chars() {
            for place in [0, last - 42, last - 1, last] {
                let mut changed = text.clone();
                changed.replace_range(place..=place, letter.encode_utf8(&mut [0; 4]));
                prop_assert!(changed == text || !forged(&codec(), &changed), "{} for {}", changed, text);
            }
        }
    }

    /// Any signed bytes: data, or an error that does not blame the signature.
    #[test]
    fn signed_bytes_are_read_or_rejected(
        body in prop::collection::vec(any::<u8>(), 0..400),
        dot in any::<bool>()
    ) {
        let body = format!("{}{}", if dot { "." } else { "" }, URL_SAFE_NO_PAD.encode(&body));
        match codec().decode(sign_body(&body, SECRET)) {
            Err(error) => prop_assert!(error.is_unreadable() || error.is_too_large(), "{}", error),
            Ok(data) => {
                let again = codec().decode(codec().encode(&data).unwrap()).unwrap();
                prop_assert_eq!(again.to_json(), data.to_json());
            }
        }
    }
}

/// Every bit of a signature is compared, wherever the first difference is. Only that is visible from outside;
/// the comparison in constant time is `verify_slice` of the hmac crate.
#[test]
fn each_bit_of_a_signature_counts() {
    let text = sign(r#"{"a":1}"#, SECRET);
    let (value, signature) = text.rsplit_once(':').unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert!(forged(&codec(), &text));
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let changed = format!("{value}:{}", URL_SAFE_NO_PAD.encode(changed));
        assert!(codec().decode(&changed).unwrap_err().is_bad_signature(), "bit {bit}");
    }
}
