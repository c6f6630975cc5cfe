//! Small values that describe large sessions: decoding them takes a small multiple of the limit in memory.

use std::{env, io::Write as _, process::Command};

use actix_django_session::codec::{Codec, JsonSerializer, PickleSerializer};
use flate2::{Compression, write::ZlibEncoder};

use crate::support::proc::status_of;

const MIB: usize = 1 << 20;

/// The default limit.
const LIMIT: usize = 16 * MIB;

/// A session that repeats some bytes.
struct Repeated {
    name: &'static str,
    head: &'static [u8],
    unit: &'static [u8],
    tail: &'static [u8],
}

const fn repeated(
    name: &'static str,
    head: &'static [u8],
    unit: &'static [u8],
    tail: &'static [u8],
) -> Repeated {
    Repeated { name, head, unit, tail }
}

/// `{"a": [`, and its end.
const LIST: (&[u8], &[u8]) = (b"\x80\x04}X\x01\0\0\0a(", b"ls.");

const KINDS: [Repeated; 13] = [
    repeated("lists that nobody gets", b"\x80\x04", b"]", b"."),
    repeated("lists", LIST.0, b"]", LIST.1),
    repeated("numbers", LIST.0, b"K\x01", LIST.1),
    repeated("strings", LIST.0, b"\x8c\0", LIST.1),
    repeated("nothing", LIST.0, b"N", LIST.1),
    repeated("nothing, in small portions", b"\x80\x04}X\x01\0\0\0a]", b"(NNNNNNNNe", b"s."),
    repeated("pairs", LIST.0, b"NN\x86", LIST.1),
    repeated("nested tuples", b"\x80\x04}X\x01\0\0\0a]", b"\x85", b"s."),
    repeated("marks", b"\x80\x04", b"(", b"."),
    repeated("a memo", b"\x80\x04]", b"\x94", b"."),
    repeated("objects", b"\x80\x04ca\nb\n\x940}X\x01\0\0\0a(", b"h\0)R", b"ls."),
    repeated("keys of a pickle", b"\x80\x04}(", b"X\x01\0\0\0aN", b"u."),
    repeated("keys of JSON", b"{", b"\"\":0,", b"\"\":0}"),
];

impl Repeated {
    /// Compressed, with so many units or as many as the limit lets pass.
    fn stored(&self, units: usize) -> Vec<u8> {
        let fit = (LIMIT - self.head.len() - self.tail.len()) / self.unit.len();
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(self.head).unwrap();
        // In portions, so that the session itself does not count.
        let portion = self.unit.repeat(1000);
        let units = units.min(fit);
        for _ in 0..units / 1000 {
            encoder.write_all(&portion).unwrap();
        }
        encoder.write_all(&self.unit.repeat(units % 1000)).unwrap();
        encoder.write_all(self.tail).unwrap();
        encoder.finish().unwrap()
    }
}

/// Says to this test program, started once more, which one to decode, and with how many units.
const KIND: &str = "TEST_MEMORY_KIND";

/// Run by the test below in processes of its own; by itself it does nothing.
#[test]
fn a_session_in_a_process_of_its_own() {
    let Ok(kind) = env::var(KIND) else { return };
    let (name, units) = kind.split_once(':').unwrap();
    let kind = KINDS.iter().find(|kind| kind.name == name).unwrap();
    let stored = kind.stored(units.parse().unwrap());
    assert!(stored.len() < 50_000);
    let json = kind.head.starts_with(b"{");
    let codec = if json { Codec::unsigned(JsonSerializer) } else { Codec::unsigned(PickleSerializer::new()) };
    let peak = || status_of(std::process::id(), "VmHWM:") as usize * 1024;
    let before = peak();
    let decoded = codec.decode(&stored);
    println!("[{} MiB, {}]", (peak() - before) / MIB, if decoded.is_ok() { "decoded" } else { "refused" });
}

#[test]
fn memory_is_a_small_multiple_of_the_limit() {
    for kind in &KINDS {
        // As many as possible, and about as many as are decoded.
        for units in [usize::MAX, 500_000] {
            let mut command = Command::new(env::current_exe().unwrap());
            command.args(["--exact", "memory::a_session_in_a_process_of_its_own", "--nocapture"]);
            let output = command.env(KIND, format!("{}:{units}", kind.name)).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let result = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).expect(&text).0;
            let mib: usize = result.split_once(' ').unwrap().0.parse().unwrap();
            println!("{}, {units} units: {result}", kind.name);
            assert!(mib * MIB < 8 * LIMIT, "{}: {mib} MiB", kind.name);
        }
    }
}

/// Sessions with many values are read up to a sixteenth of the limit.
#[test]
fn a_session_of_many_values_is_decoded() {
    let decode = |kind: &Repeated, units| {
        let json = kind.head.starts_with(b"{");
        let codec =
            if json { Codec::unsigned(JsonSerializer) } else { Codec::unsigned(PickleSerializer::new()) };
        codec.max_session_bytes(MIB).decode(kind.stored(units))
    };
    for name in ["numbers", "strings", "keys of JSON"] {
        let kind = KINDS.iter().find(|kind| kind.name == name).unwrap();
        assert!(decode(kind, MIB / 16 - 100).is_ok(), "{name}");
        assert!(decode(kind, MIB / 16 + 100).unwrap_err().is_too_large(), "{name}");
    }
}
