//! A zlib stream in a text with a right signature: what comes out is what another implementation makes of it,
//! and never more than a session may have.

#![no_main]

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use actix_django_session::{
    Error,
    codec::{Serializer, SessionData},
};
use actix_django_session_fuzz::{
    reference::{self, Inflated},
    repeated,
    signing::{codec, signed_stream},
};
use libfuzzer_sys::fuzz_target;
use miniz_oxide::deflate::compress_to_vec_zlib;

/// Tells what it was given: so many bytes, and a number that is another one for others.
struct Shown;

impl Serializer for Shown {
    fn dumps(&self, _: &SessionData) -> Result<Vec<u8>, Error> {
        Err(Error::value("nobody writes here"))
    }

    fn loads(&self, bytes: Vec<u8>, max_bytes: usize) -> Result<SessionData, Error> {
        assert!(bytes.len() <= max_bytes);
        SessionData::from_json(shown(&bytes))
    }
}

fuzz_target!(|data: &[u8]| {
    // Some of these stand for a gigabyte, and no allocation may be that large: see -malloc_limit_mb.
    if let Some(long) = repeated(data, 1 << 20) {
        check(&long, 1000);
        return;
    }
    for limit in [100, 10_000, 1_000_000] {
        check(data, limit);
    }
    // The other way round: whatever is compressed comes back, whatever follows it.
    for level in [0, 1, 6] {
        let mut stream = compress_to_vec_zlib(data, level);
        stream.extend_from_slice(data);
        let read = codec().serializer(Shown).max_session_bytes(data.len()).decode(&signed_stream(&stream));
        assert_eq!(read.expect("a whole stream").to_json(), shown(data));
        if let Some(less) = data.len().checked_sub(1) {
            check(&stream, less);
        }
    }
});

fn check(stream: &[u8], limit: usize) {
    let read = codec().serializer(Shown).max_session_bytes(limit).decode(&signed_stream(stream));
    match (reference::inflate(stream, limit), read) {
        (Inflated::Whole(expected), read) => {
            assert_eq!(read.expect("a whole stream").to_json(), shown(&expected));
        }
        (Inflated::TooLarge, Err(error)) => assert!(error.is_too_large() || error.is_unreadable()),
        (Inflated::Broken, Err(error)) => assert!(error.is_unreadable() || error.is_too_large()),
        (_, Ok(data)) => panic!("read as {}", data.to_json()),
    }
}

fn shown(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("{{\"length\":{},\"hash\":{}}}", bytes.len(), hasher.finish())
}
