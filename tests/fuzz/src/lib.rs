//! Shared by the fuzz targets: Django's signatures and other ways to the same results, made without the
//! crate.

pub mod edit;
pub mod reference;
pub mod signing;
pub mod site;

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use actix_django_session::codec::{Codec, Serializer, SessionData};
use actix_web::rt::{System, SystemRunner};

thread_local! {
    static SYSTEM: &'static SystemRunner = kept(System::new());
}

/// Waits for something that needs actix's runtime.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    SYSTEM.with(|system| system.block_on(work))
}

/// Something that lives as long as the process: at its end actix's own thread locals are gone before ours.
pub fn kept<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// So late that nothing ends by it.
pub fn far_away() -> SystemTime {
    SystemTime::now() + Duration::from_secs(100 * 365 * 24 * 60 * 60)
}

/// Keys and the JSON of their values.
pub fn items(data: &SessionData) -> Vec<(String, String)> {
    data.items().into_iter().map(|(key, value)| (key, value.to_owned())).collect()
}

/// Asserts that data which was read can be written, and reads back the same. `bound` is the limit of the
/// codec or cache that has read the data.
pub fn assert_serializes(serializer: &impl Serializer, data: &SessionData, bound: usize) -> Vec<u8> {
    let written = serializer.dumps(data).expect("what was read can be written");
    let again = serializer.loads(written.clone(), bound).expect("what was written can be read");
    assert_eq!(again.to_json(), data.to_json());
    assert_eq!(items(&again), items(data));
    assert_eq!(serializer.dumps(&again).expect("it was written before"), written);
    written
}

/// As [`assert_serializes`], of a signed text. Encoded again, it differs in its stamp and signature alone.
pub fn assert_encodes(codec: &Codec, data: &SessionData) {
    let (before, text) = (SystemTime::now(), codec.encode(data).expect("what was read can be written"));
    let again = codec.decode(&text).expect("what was written can be read");
    assert_eq!(again.to_json(), data.to_json());
    assert_eq!(items(&again), items(data));
    let (body, seconds) = signing::body_and_stamp(&text);
    let since_1970 =
        |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_secs());
    assert!((since_1970(before)..=since_1970(SystemTime::now())).contains(&seconds), "its stamp is the time");
    let text = codec.encode(&again).expect("it was written before");
    assert_eq!(signing::body_and_stamp(&text).0, body);
}

/// Repeats a part of the input to `length` bytes. Quadratic time then becomes so long that the fuzzer reports
/// a failure.
///
/// Such an input begins with 0xff, as neither JSON nor a pickle does, then the start and the length of that
/// part.
pub fn repeated(input: &[u8], length: usize) -> Option<Vec<u8>> {
    let [0xff, start, size, rest @ ..] = input else { return None };
    let start = usize::from(*start).min(rest.len());
    let end = (start + usize::from(*size)).min(rest.len());
    let (before, part, after) = (&rest[..start], &rest[start..end], &rest[end..]);
    let times = length.checked_div(part.len())?;
    Some([before, &part.repeat(times), after].concat())
}
