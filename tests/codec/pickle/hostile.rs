//! Pickles that nobody honest writes: nothing of them is run, and each ends in data or an error.

use std::{fs, path::Path};

use actix_django_session::codec::{PickleSerializer, Serializer as _};
use serde_json::json;

use super::{LIMIT, Vector, ask, dumps, hex, loads, session, vectors};
use crate::support::{django::Django, proc::TempDir};

fn text(text: &str) -> Vec<u8> {
    [b"X", &u32::try_from(text.len()).unwrap().to_le_bytes()[..], text.as_bytes()].concat()
}

/// Pickles that create the file when Python loads them, and the JSON that each becomes here.
fn exploits(file: &Path) -> Vec<(Vec<u8>, &'static str)> {
    let command = text(&format!("touch '{}'", file.display()));
    let python = text(&format!("open({:?}, 'w')", file.to_str().unwrap()));
    vec![
        (session(&[b"cos\nsystem\n", &command[..], b"\x85R"].concat()), "<os.system>"),
        (session(&[&text("os")[..], &text("system"), b"\x93", &command, b"\x85R"].concat()), "<os.system>"),
        (session(&[&text("builtins")[..], &text("eval"), b"\x93", &python, b"\x85R"].concat()), "<eval>"),
        (session(&[b"(", &command[..], b"ios\nsystem\n"].concat()), "<os.system>"),
        (session(&[b"(cos\nsystem\n", &command[..], b"o"].concat()), "<os.system>"),
        (session(&[b"cfunctools\npartial\ncos\nsystem\n\x85R", &command[..], b"\x85R"].concat()), "<object>"),
        (session(&[b"cos\nsystem\n", &command[..], b"\x85R0N"].concat()), "null"),
        (
            // The state of an object that takes it for more than data.
            session(
                &[b"cfunctools\npartial\ncprint\nprint\n\x85\x81(cos\nsystem\n)}Ntb", &command[..], b"\x85R"]
                    .concat(),
            ),
            "<object>",
        ),
    ]
}

#[test]
fn no_code_is_run() {
    let dir = TempDir::new("exploits");
    let file = dir.path().join("made");
    for (pickle, shown) in exploits(&file) {
        let mut data = loads(&pickle).unwrap();
        assert_eq!(data.get_json("x"), Some(shown));
        data.set_json("y", "1").unwrap();
        let written = dumps(&data);
        let again = loads(&written).unwrap();
        assert_eq!((again.get_json("x"), again.get_json("y")), (Some(shown), Some("1")));
        assert!(!file.exists());
    }
}

/// So that the test above tests something.
#[test]
#[ignore = "needs Django: run tests/run"]
fn python_runs_the_same_code() {
    let dir = TempDir::new("exploits");
    let file = dir.path().join("made");
    let django = Django::codec_versions().pop().unwrap();
    let exploits = exploits(&file);
    for (pickle, shown) in &exploits[..7] {
        ask(&django, &[json!({"pickle": hex(pickle)})]);
        assert!(file.exists(), "{shown}");
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn a_truncated_pickle_is_an_error() {
    for Vector { pickle, .. } in vectors() {
        // Each end of a short one, some of a long one's.
        let step = pickle.len().div_ceil(2000).max(1);
        for end in (0..pickle.len()).step_by(step).chain([pickle.len() - 1]) {
            assert!(loads(&pickle[..end]).unwrap_err().is_unreadable(), "{end} of {pickle:x?}");
        }
    }
}

#[test]
fn a_length_beyond_the_end_is_an_error() {
    let lengths: [&[u8]; 12] = [
        b"X\xff\xff\xff\xff",
        b"B\xff\xff\xff\x7f",
        b"T\xff\xff\xff\x7f",
        b"T\xff\xff\xff\xff",
        b"\x8b\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\xff",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x95\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x96\xff\xff\xff\xff\0\0\0\0",
        b"U\xff",
        b"j\xff\xff\xff\x7f",
    ];
    for length in lengths {
        assert!(loads(&session(length)).unwrap_err().is_unreadable());
        assert!(loads(length).unwrap_err().is_unreadable());
    }
    // Places in the memo are only names.
    assert_eq!(loads(&session(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff")).unwrap().get_json("x"), Some("null"));
    assert_eq!(loads(&session(b"Np18446744073709551615\n")).unwrap().get_json("x"), Some("null"));
}

#[test]
fn anything_but_a_session_is_an_error() {
    let bad: [&[u8]; 26] = [
        b"",
        b".",
        b"N.",
        b"].",
        b"\x80\x06}.",
        b"\x80\x04}\x80\x02.",
        b"}(X\x01\0\0\0au.",               // a key without a value
        b"}(.",                            // nothing above the mark
        b"}(s.",                           // below the mark
        b"}Na.",                           // a dict is no list
        b"](NNu.",                         // a list is no dict
        b"}NNNs.",                         // None is no dict
        b"}X\x01\0\0\0a}X\x01\0\0\0b.",    // a string
        b"}Pid\n.",                        // a persistent id
        b"}NQ.",                           // and another
        b"}\x82\x01.",                     // the registry
        b"}\x97.",                         // a buffer elsewhere
        b"}X\x01\0\0\0aX\x01\0\0\0\xffs.", // not UTF-8
        b"}U\x01aU\x01\xffs.",             // not ASCII
        b"}Nc\xff\n\xff\ns.",              // a name that is not UTF-8
        b"}NNN\x93s.",                     // a class without a name
        b"}NX\x01\0\0\0a\x8c\x01\n\x93s.", // or with two lines of it
        b"}NX\0\0\0\0h\0\x93s.",
        b"}Ncos\nsystem\nNRs.", // arguments that are no tuple
        b"}N(os.",              // nothing to make
        b"{\"a\": 1}",
    ];
    for pickle in bad {
        let error = loads(pickle).unwrap_err();
        assert!(error.is_unreadable(), "{pickle:x?}: {error}");
    }
    assert_eq!(loads(b"}.and whatever follows").unwrap().to_json(), "{}");
    assert!(loads(&vec![b'N'; LIMIT + 1]).unwrap_err().is_too_large());
}

/// As in Python's dict, where the first keeps its place. Python itself writes no key twice.
#[test]
fn of_equal_keys_the_last_counts() {
    let pickle = b"}(S'a'\nI1\nU\x01bT\x01\0\0\0cVa\nF1.5\nu.";
    assert_eq!(loads(pickle).unwrap().to_json(), r#"{"a":1.5,"b":"c"}"#);
    let many: Vec<u8> = (0..20).flat_map(|n| [b'U', 1, b'a' + n % 10, b'K', n]).collect();
    let data = loads(&session(&[b"}(", &many[..], b"u"].concat())).unwrap();
    let last = r#"{"a":10,"b":11,"c":12,"d":13,"e":14,"f":15,"g":16,"h":17,"i":18,"j":19}"#;
    assert_eq!(data.get_json("x"), Some(last));
}

/// A self-referencing object has no finite JSON, and no finite pickle without a memo.
#[test]
fn a_recursive_object_is_an_error() {
    let circles: [&[u8]; 5] = [
        b"]q\0h\0a",
        b"}q\0X\x01\0\0\0ah\0s",
        b"]q\0h\0\x85a",
        b"\x8fq\0(h\0\x85\x90",
        // An object that its own state names.
        b"c__main__\nNode\n)\x81q\0}X\x01\0\0\0ah\0sb",
    ];
    for circle in circles {
        assert!(loads(&session(circle)).unwrap_err().is_unreadable(), "{circle:x?}");
    }
    assert!(loads(b"}q\0X\x01\0\0\0ah\0s.").unwrap_err().is_unreadable());
}

#[test]
fn small_pickles_of_large_data_are_too_large() {
    // Each level names the one before it ten times: 10 to the power of 30.
    let grow = |open: &[u8], item: &[u8], close: &[u8]| {
        let mut pickle = b"(N\x85q\x00".to_vec();
        for level in 1..=30_u8 {
            pickle.extend_from_slice(open);
            for _ in 0..10 {
                pickle.extend_from_slice(item);
                pickle.extend_from_slice(&[b'h', level - 1]);
            }
            pickle.extend_from_slice(close);
            pickle.extend_from_slice(&[b'q', level]);
        }
        pickle.extend_from_slice(b"1h\x1e");
        session(&pickle)
    };
    let object = [&b"cx\ny\n"[..], b"("].concat();
    let shapes: [(&[u8], &[u8], &[u8]); 7] = [
        (b"](", b"", b"e"),
        (b"(", b"", b"t"),
        (b"(", b"", b"l"),
        (b"}(", b"K\x01", b"u"),
        (b"\x8f(", b"", b"\x90"),
        (b"(", b"", b"\x91"),
        (&object, b"", b"tR"),
    ];
    for (open, item, close) in shapes {
        let pickle = grow(open, item, close);
        assert!(pickle.len() < 1500 && loads(&pickle).unwrap_err().is_too_large(), "{open:x?}");
    }
    // A long string that is named often: as value, key, class, module and number.
    let long = text(&"9".repeat(LIMIT / 4));
    let often: [&[u8]; 8] = [
        b"h\0",
        b"}h\0Ns",
        b"h\0h\0\x93",
        b"h\0h\0\x93)R",
        b"cdecimal\nDecimal\nh\0\x85R",
        b"c_codecs\nencode\nh\0X\x06\0\0\0latin1\x86R",
        b"cdatetime\ndatetime\nh\0\x85R",
        b"cdjango.utils.safestring\nSafeString\nh\0\x85\x81",
    ];
    for value in often {
        let pickle = session(&[&b"("[..], &long, b"q\x000", &value.repeat(10_000), b"l"].concat());
        assert!(loads(&pickle).unwrap_err().is_too_large(), "{value:x?}");
    }
}

/// On a small stack, and in both directions.
#[test]
fn depth_is_bounded_and_costs_no_stack() {
    let nested = |levels: usize| session(&[b"]".repeat(levels), b"a".repeat(levels - 1)].concat());
    let work = move || {
        // More of them are too many values.
        for (levels, too_large) in [(1001, false), (60_000, false), (100_000, true), (500_000, true)] {
            let tuples = session(&[b")".to_vec(), b"\x85".repeat(levels)].concat());
            let objects = session(&[&b"cx\ny\n"[..], &b")R".repeat(levels)].concat());
            for pickle in [nested(levels), tuples, objects] {
                let error = loads(&pickle).unwrap_err();
                assert!(error.is_too_large() == too_large && error.is_unreadable() != too_large, "{error}");
            }
        }

        let json = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let mut data = loads(&nested(999)).unwrap();
        assert_eq!(data.get_json("x"), Some(&*json(999)));
        let written = dumps(&data);
        assert_eq!(loads(&written).unwrap().get_json("x"), Some(&*json(999)));
        data.set_json("x", json(1000)).unwrap();
        assert!(PickleSerializer::new().dumps(&data).unwrap_err().is_value());
        data.set_json("x", json(400_000)).unwrap();
        assert!(PickleSerializer::new().dumps(&data).unwrap_err().is_value());
        data.set_json("x", "9".repeat(4301)).unwrap();
        assert!(PickleSerializer::new().dumps(&data).unwrap_err().is_value());
    };
    std::thread::Builder::new().stack_size(64 * 1024).spawn(work).unwrap().join().unwrap();
}
