//! Any bytes as a pickle: data of bounded size or an error, and what was read stays what it is. And any JSON
//! as a pickle.

#![no_main]

use actix_django_session::codec::{JsonSerializer, PickleSerializer, Serializer as _, SessionData};
use actix_django_session_fuzz::{assert_serializes, edit, items, reference, repeated};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 1 << 16;

const LONG: usize = 1 << 18;

fuzz_target!(|input: &[u8]| {
    if let Some(long) = repeated(input, LONG) {
        // These calls could take quadratic time.
        if let Ok(data) = PickleSerializer::new().loads(long, 2 * LONG) {
            PickleSerializer::new().dumps(&data).expect("what was read can be written");
        }
        return;
    }
    as_pickle(input, input.len());
    if let Some(data) = as_pickle(input, LIMIT) {
        assert!(edit::check(&data, "who", "\"Ada\""));
        let first = items(&data).into_iter().next();
        let mut changed = data.clone();
        if let Some((key, _)) = first {
            assert!(edit::check(&data, &key, "[1.5,{}]"));
            changed.set_json(&key, "null").expect("JSON");
        }
        changed.set_json("who", "\"Ada\"").expect("JSON");
        assert_serializes(&PickleSerializer::new(), &changed, 8 * LIMIT);
        followed(input);
    }
    if let Ok(data) = JsonSerializer.loads(input.to_vec(), LIMIT) {
        from_json(&data);
    }
});

fn as_pickle(pickle: &[u8], limit: usize) -> Option<SessionData> {
    let data = match PickleSerializer::new().loads(pickle.to_vec(), limit) {
        Ok(data) => data,
        Err(error) => {
            assert!(error.is_unreadable() || error.is_too_large(), "{error}");
            return None;
        }
    };
    // The texts themselves are counted, not what stands between them.
    let members = data.items().len();
    assert!(data.to_json().len() <= limit + 2 * members + 2);
    let written = assert_serializes(&PickleSerializer::new(), &data, 100 * LIMIT);
    assert!(written.len() <= 4 * limit + 100);
    // Each value is either JSON or a placeholder that begins with `<`.
    for (_, value) in data.items() {
        assert_eq!(reference::is_json(value), !value.starts_with('<'), "{value}");
    }
    if JsonSerializer.dumps(&data).is_ok() {
        assert!(reference::is_dict(&data.to_json()));
    }
    Some(data)
}

/// Bytes behind the end do not count.
fn followed(pickle: &[u8]) {
    let mut more = pickle.to_vec();
    more.extend_from_slice(b"N.");
    let whole = PickleSerializer::new().loads(pickle.to_vec(), LIMIT).expect("it was read before");
    let again = PickleSerializer::new().loads(more, LIMIT + 2).expect("what follows does not matter");
    assert_eq!(again.to_json(), whole.to_json());
}

/// Writes data that a site stored as JSON as a pickle.
fn from_json(data: &SessionData) {
    let pickle = match PickleSerializer::new().dumps(data) {
        Ok(pickle) => pickle,
        Err(error) => {
            assert!(error.is_value(), "{error}");
            return;
        }
    };
    let again = PickleSerializer::new().loads(pickle.clone(), 100 * LIMIT).expect("ours");
    assert_eq!(again.keys(), data.keys());
    if let Some(expected) = reference::dict(&data.to_json()) {
        assert_eq!(reference::dict(&again.to_json()), Some(expected));
    }
    assert_serializes(&PickleSerializer::new(), &again, 100 * LIMIT);
}
